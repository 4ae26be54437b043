"""What the scripts of long tables share: rows that are trained once, kept, and written into docs/results.md.

A row is a `simulacra train` command with what it was found to be worth. Finished rows are kept in
`docs/results/TABLE.json`, so that a script takes up where it stopped, on any machine; a table stands in
docs/results.md between `<!-- TABLE -->` and `<!-- /TABLE -->`.
"""

import argparse
import fcntl
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torchvision.utils import make_grid

import simulacra
from simulacra.data import Feed, open_data
from simulacra.game import Clock, Stage
from simulacra.game import Table as Place
from simulacra.precision import autocast, choose_precision
from simulacra.recipes import find
from simulacra.runfolder import RunFolder
from simulacra.session import build, companions
from simulacra.settings import RunOptions, parse_size

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results.md"
CPU = torch.device("cpu")
CYCLE = 16  # steps over which lazy penalties are averaged
WIDEST = 960  # pixels of a picture on a page


@dataclass(frozen=True)
class Row:
    """One training: `simulacra train RECIPE --data DATA --steps STEPS` with the recipe's `options` and those of a
    `run`, under the name `key`."""

    key: str
    recipe: str
    data: str
    steps: int
    options: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    run: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The command behind `simulacra`, but for what says where and how loudly."""
        own = [
            word for name, value in (self.options | self.run).items() for word in (f"--{name.replace('_', '-')}", value)
        ]
        return ["train", self.recipe, "--data", self.data, "--steps", str(self.steps), "--seed", str(self.seed), *own]

    def shortened(self, share: float) -> "Row":
        """With this share of its steps, and of those between what is due every so many."""
        every = {name: str(max(round(share * int(n)), 1)) for name, n in self.run.items() if name.endswith("_every")}
        return replace(self, steps=max(round(share * self.steps), 2), run=self.run | every)

    def share(self, found: dict[str, Any]) -> str:
        """What share of its steps was trained; less than all of them awaits a GPU."""
        share = updates(found) / self.steps
        return f"{share:.2f}" + (", awaits GPU" if share < 1 else "")


def updates(found: dict[str, Any]) -> int:
    """The steps that the command of a finished row asked for."""
    return int(found["command"].split("--steps ")[1].split()[0])


Judge = Callable[[Path], dict[str, Any]]


class Table:
    """The rows of one table: `judge(run)` says what a finished run is worth, as JSON."""

    def __init__(self, name: str, rows: Sequence[Row], judge: Judge) -> None:
        self.name, self.rows, self.judge = name, rows, judge
        self.path = ROOT / "docs" / "results" / f"{name}.json"
        self.lock = threading.Lock()

    def done(self) -> dict[str, dict[str, Any]]:
        """Finished rows by key."""
        if not self.path.exists():
            return {}
        with self.path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # another process may be adding a row
            return json.loads(file.read() or "{}")

    def run(self, folder: Path, jobs: int, rows: Iterable[Row], seconds: float | None = None) -> None:
        """Train and judge those of `rows` that are not finished, or with fewer steps only, `jobs` at a time, in their
        order. After so many `seconds` none is begun, and trainings write a checkpoint and end."""
        done, until = self.done(), inf if seconds is None else time.monotonic() + seconds
        missing = [row for row in rows if row.key not in done or updates(done[row.key]) < row.steps]
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda row: self._finish(row, folder / row.key, jobs, until), missing))

    def again(self, folder: Path, rows: Iterable[Row]) -> None:
        """Judge those of `rows` once more whose finished runs are in `folder`; what is known of others stays."""
        for row in rows:
            known, out = self.done().get(row.key, {}), folder / row.key
            ended = (RunFolder(out).record() or {}).get("ended") or {}
            if known and "failed" not in known and ended.get("step") == row.steps:
                self.keep(row.key, known | self.judge(out))
                print(f"{row.key}: judged again", flush=True)

    def _finish(self, row: Row, out: Path, jobs: int, until: float) -> None:
        if time.monotonic() >= until:
            return
        environment = {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // jobs, 1))} | os.environ
        command = [sys.executable, "-m", "simulacra", *row.words, "--out", str(out), "--quiet"]
        returncode, stderr = _ran(command, environment, until)
        words = " ".join(["simulacra", *row.words]).replace(f"{out.parent}/", f"runs/{self.name}/")
        found = {"command": words, "seconds": round(spent(out))}
        found |= {"jobs": jobs, "version": simulacra.__version__, "torch": torch.__version__} | machine_of(out)
        if "training diverges" in stderr:
            found["failed"] = stderr.strip().splitlines()[-1]
        elif returncode:
            print(f"{row.key}: exit {returncode}\n{stderr[-2000:]}", flush=True)
            return
        elif other := _not_of(row, out):
            print(f"{row.key}: {out} {other}: remove it, or give another --out", flush=True)
            return
        else:
            try:
                found |= self.judge(out)
            except Exception:  # the others' trainings go on; this row is judged when the script is called again
                print(f"{row.key}: trained, not judged\n{traceback.format_exc()}", flush=True)
                return
        self.keep(row.key, found)
        print(f"{row.key}: {found['seconds']} s", flush=True)

    def keep(self, key: str, found: dict[str, Any]) -> None:
        """Add a row, also beside another process that adds its own."""
        self.path.parent.mkdir(exist_ok=True)
        with self.lock, self.path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            rows = json.loads(file.read() or "{}") | {key: found}
            text = json.dumps(rows, indent=1) + "\n"
            file.seek(0)
            file.truncate()
            file.write(text)


def _ran(command: Sequence[str], environment: dict[str, str], until: float) -> tuple[int, str]:
    """How a command ended, and what it said of it; asked to end when the time is up, and waited for."""
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            _, said = process.communicate(timeout=None if until == inf else max(until - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            process.terminate()
            _, said = process.communicate()
        return process.returncode, said


def _not_of(row: Row, run: Path) -> str | None:
    """What tells a run from the row's: it ended, or its schedules do, at another step."""
    record = RunFolder(run).record() or {}
    steps = {"ended": (record.get("ended") or {}).get("step"), "has schedules that end": record.get("horizon")}
    wrong = (f"{what} at step {step}, not at {row.steps}" for what, step in steps.items() if step != row.steps)
    return next(wrong, None)


def spent(run: Path) -> float:
    """Seconds from the start of a run, or each time it was taken up again, to the last line of its log before the
    next; scoring while training is part of them."""
    path, total, first, last = run / "log.jsonl", 0.0, 0.0, 0.0
    for line in map(json.loads, path.read_text().splitlines() if path.exists() else []):
        if line.get("event") in ("start", "resume"):
            total, first, last = total + last - first, line["time"], line["time"]
        last = line.get("time") or last
    return total + last - first


def failure(row: dict[str, Any]) -> str:
    """How a row ended that has no scores: in short where it diverged."""
    found = re.search(r"training (diverges)\b.*?(at step \d+)", row.get("failed", "-"))
    return " ".join(found.groups()) if found else row.get("failed", "-")


def machine_of(run: Path) -> dict[str, Any]:
    """What the run says of the machine it was trained on, and of its precision."""
    path, record = run / "environment.json", RunFolder(run).record() or {"run": {}}
    known = (json.loads(path.read_text()) if path.exists() else {}) | record["run"]
    return {name: known[name] for name in ("processor", "device", "threads", "precision") if name in known}


def circumstances(done: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence on machine, precision and versions that rows were trained with, those of the rarer kinds being named.
    One string, or none where no row says."""
    kinds: dict[str, list[str]] = {}
    for key, row in done.items():
        if "processor" in row:
            machine = row["processor"] if row["device"] == "cpu" else row["device"]
            threads = f"{row['threads']} thread" + "s" * (row["threads"] != 1)
            versions = f"torch {row['torch'].split('+')[0]}, simulacra {row['version']}"
            words = machine, threads, *([row["precision"]] if "precision" in row else []), versions
            kinds.setdefault(", ".join(words), []).append(key)
    if not kinds:
        return []
    usual, *others = sorted(kinds, key=lambda kind: -len(kinds[kind]))
    return ["; ".join([f"Trained on {usual}", *(f"{', '.join(kinds[kind])} on {kind}" for kind in others)]) + "."]


def write(name: str, text: str) -> None:
    """Put `text` between the marks of `name` in docs/results.md, and print it."""
    page, (start, end) = RESULTS.read_text(), (f"<!-- {name} -->", f"<!-- /{name} -->")
    before, rest = page.split(start)
    RESULTS.write_text(f"{before}{start}\n{text.strip()}\n{end}{rest.split(end)[1]}")
    print(text)


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and standard deviation."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def with_error(values: Sequence[float], sign: str = "") -> str:
    """Mean and its standard error; `sign`: "+" to show it."""
    return f"{statistics.mean(values):{sign}.2f} ± {statistics.stdev(values) / len(values) ** 0.5:.2f}"


def draw_images(place: Any, images: Tensor, columns: int, **titles: str) -> None:
    """Grey images `[N, 1, H, W]` in [-1, 1] on matplotlib's axes, row by row without a gap."""
    place.imshow(make_grid(images.cpu(), columns, padding=0)[0], cmap="gray", vmin=-1, vmax=1)
    place.set(xticks=[], yticks=[], **titles)


def draw_strips(panels: list[tuple[str, Tensor]], path: Path) -> None:
    """A titled row of grey images `[N, 1, H, W]` in [-1, 1] for each panel, as a picture at `path`."""
    figure = Figure(figsize=(6, (0.05 + 5.1 / max(len(x) for _, x in panels)) * len(panels) + 0.1))
    axes = figure.subplots(len(panels), 1, squeeze=False)
    for place, (title, x) in zip(axes[:, 0], panels):
        draw_images(place, x, len(x))
        place.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=100, bbox_inches="tight", pad_inches=0.05)


def pictured(table: str, names: Iterable[str], said: str) -> list[str]:
    """How a page shows the pictures `images/TABLE-NAME.png` that are there: one string of tags, or none."""
    places = {name: ROOT / "docs" / "images" / f"{table}-{name}.png" for name in names}
    widths = {name: min(Image.open(place).width, WIDEST) for name, place in places.items() if place.exists()}
    tags = [f'<img src="images/{table}-{k}.png" width="{width}" alt="{k}: {said}">' for k, width in widths.items()]
    return ["\n".join(tags)] if tags else []


def curve(run: Path, score: str) -> list[tuple[int, float]]:
    """A score as it was logged while training: (step, value)."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line[f"score/{score}"]) for line in lines if f"score/{score}" in line]


@dataclass(frozen=True)
class Cost:
    """What one step of a game takes, on average over a cycle: floating-point operations, calls of autograd, seconds."""

    flops: float
    gradients: float
    seconds: float


def cost(row: Row) -> Cost:
    """Count a cycle of the steps of each of the row's stages on this machine, with as many threads as torch has here:
    the mean over stages, by their lengths."""
    kind = find(row.recipe)
    chosen = {name: row.run[name] for name in ("rows", "beside", "beside_rows", "labelled") if name in row.run}
    given = RunOptions.read({}, "run").with_overrides(chosen, "run")
    source, beside = companions(kind, open_data(row.data, size=parse_size(row.run.get("size"))), given)
    options = kind.options().with_overrides(row.options, row.recipe)
    plan = build(kind, source, options, 0, CPU)
    images, found = source.spec.kind == "image", []
    table = Place(precision=autocast(choose_precision("auto", CPU, vectors=not images), CPU))
    for number, stage in enumerate(plan.stages):
        shape = {"channels_last": images, "beside": beside, "full_passes": stage.full_passes > 0}
        feed = Feed(source, seed=0, stage=number, batch=plan.batch, **shape)
        stage.game.reset(Place())
        with _Flops() as counted, _Calls() as calls:
            _play(stage, number, feed, table)
        once = counted.total, calls.number, _play(stage, number, feed, table)
        found.append([value * stage.steps / plan.steps / CYCLE for value in once])
    return Cost(*map(sum, zip(*found)))


def _play(stage: Stage, number: int, feed: Feed, table: Place) -> float:
    game = stage.game
    began = time.perf_counter()
    for step in range(CYCLE):
        batches = lambda k, at=step * game.batches_per_step: stage.view(feed.at(at + k))  # noqa: E731
        game.step(batches, Clock(stage=number, step=step, progress=(step + 0.5) / CYCLE), table)
    return time.perf_counter() - began


class _Flops(TorchDispatchMode):
    """Inside, adds up the floating-point operations of products and convolutions. (FlopCounterMode follows modules too,
    and its hooks refuse gradients of gradients.)"""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            self.total += count(*args, **(kwargs or {}), out_val=found)
        return found


class _Calls:
    """Inside, counts how often gradients are asked of autograd."""

    def __enter__(self) -> "_Calls":
        self.number, self.kept = 0, (torch.autograd.backward, torch.autograd.grad)
        torch.autograd.backward, torch.autograd.grad = map(self._counted, self.kept)  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        torch.autograd.backward, torch.autograd.grad = self.kept  # type: ignore[assignment]

    def _counted(self, function: Callable) -> Callable:
        def call(*args: Any, **options: Any) -> Any:
            self.number += 1
            return function(*args, **options)

        return call


def plan(rows: Iterable[Row]) -> None:
    """Print FLOPs, calls of autograd and hours of each kind of row, before anything is trained."""
    seen: dict[tuple, Cost] = {}
    total = 0.0
    for row in rows:
        kind = (row.recipe, row.data, *row.options.items())
        found = seen.get(kind) or cost(row)
        total += (hours := found.seconds * row.steps / 3600)
        if kind not in seen:
            words = f"{found.flops / 1e9:.2f} GFLOP and {found.gradients:.1f} gradients per step"
            print(f"{row.key}: {words}, {row.steps} steps, {hours:.2f} h", flush=True)
        seen[kind] = found
    print(f"all rows: {total:.1f} h of {torch.get_num_threads()} threads")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every table's script takes."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings side by side")
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of the keys of rows to train")
    parser.add_argument("--plan", action="store_true", help="count FLOPs and hours, and stop")
    parser.add_argument(
        "--again", action="store_true", help="judge finished rows again, of runs that are kept, and stop"
    )
    parser.add_argument("--show", action="store_true", help="write the table of what is finished, and stop")
    parser.add_argument("--seconds", type=float, help="begin nothing after so many, and end trainings, which can go on")
    return parser


def chosen(rows: Sequence[Row], words: Sequence[str]) -> list[Row]:
    """Those whose keys begin with one of `words`; all without words."""
    return [row for row in rows if not words or any(row.key.startswith(word) for word in words)]


def conduct(
    description: str | None,
    make: Callable[[Path], Table],
    text: Callable[[dict[str, dict[str, Any]]], str],
    prepare: Callable[[Path], None] = lambda folder: None,
    finish: Callable[[Path], None] = lambda folder: None,
    shortens: bool = False,
) -> None:
    """What a script of one table does: plan, or train what is missing of the table that `make` makes for the folder
    of its runs; then write `text` of all finished rows. `prepare` is called before planning or training, `finish` after
    training. `shortens`: rows may be trained for a share of their steps, which `text` tells then."""
    parser = arguments(description)
    if shortens:
        parser.add_argument("--steps-share", type=float, default=1.0, help="of the full budget (default: all of it)")
    given = parser.parse_args()
    if shortens and not 0.0 < given.steps_share <= 1.0:
        parser.error("--steps-share is above 0 and at most 1")
    table = make(given.out)
    folder, todo = given.out / table.name, chosen(table.rows, given.only)
    if shortens:
        todo = [row.shortened(given.steps_share) for row in todo]
    if not (given.again or given.show):
        prepare(folder)
    if given.plan:
        return plan(todo)
    if given.again:
        table.again(folder, todo)
    elif not given.show:
        table.run(folder, given.jobs, todo, given.seconds)
        finish(folder)
    done = table.done()
    write(table.name, "\n\n".join([text(done), *circumstances(done)]) if done else "Not run yet.")
