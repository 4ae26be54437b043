"""Twelve planted failures and twelve healthy runs: which of them raise which alarm, and when.

    SIMULACRA_DATA=... python -m benchmarks.health [--set report] [--out runs] [--jobs 2] [--only dead ...] [--show]

A failure is named if one of its accepted alarms was raised at half the budget or before; a healthy run is a false alarm
if any was raised at all. Failures and their accepted alarms are defined in `FAILURES`. All train networks of base width
16 for 1 500 steps at a constant rate of 10⁻³ for both players, by which every healthy configuration is known to learn
MNIST in so many steps (`benchmarks.objectives`); at DCGAN's own rate some are still collapsed late in so short a
training.

`--set tuning` is MNIST, seeds 0 to 2, on which the thresholds of `simulacra.health.thresholds` were set, and is printed
alone; `--set report` is Fashion-MNIST and flowers at 32 x 32, seeds 3 to 5. Finished runs are kept in
docs/results/health-SET.json. After the report was seen, three detectors were changed by other runs than its own, as
docs/results.md tells: of memorisation, collapse and dead units. `--again` finds the alarms of kept logs once more,
within the thresholds as they are now.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import simulacra
from benchmarks.tables import ROOT, machine_of, markdown, write
from simulacra.data import Source
from simulacra.data.batch import to_unit
from simulacra.errors import MachineError, UserError
from simulacra.health.doctor import fresh_monitor, lines_of
from simulacra.health.monitor import Monitor
from simulacra.runfolder import RunFolder
from simulacra.session import Session, settle
from simulacra.training import play

STEPS = 1_500
FLOWERS = "zip:" + str(Path(os.environ.get("SIMULACRA_DATA", ".")) / "tf_flowers" / "flower_photos_96.zip")
Plant = Callable[[Session], Session]


# What is planted


def rows_of(session: Session, index: np.ndarray, **changes: Any) -> Session:
    """The session on some rows of its data, held in memory."""
    source = session.source
    labels = None if source.labels is None else source.labels[torch.from_numpy(index)]
    data = source.rows(index)
    kept = replace(source, **({"data": data, "labels": labels, "count": len(index), "in_memory": True} | changes))
    return replace(session, source=kept)


def frozen(player: str) -> Plant:
    """The optimiser of a player does nothing."""

    def plant(session: Session) -> Session:
        optimizer: Any = session.plan.stages[0].game.optimizers[player]
        optimizer.step = lambda: None
        return session

    return plant


def labels_shuffled(session: Session) -> Session:
    """Labels in another order than their rows."""
    labels = session.source.labels
    assert labels is not None
    mixed = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    return replace(session, source=replace(session.source, labels=labels[mixed]))


def duplicated(session: Session) -> Session:
    """One row in a hundred, a hundred times each."""
    n = len(session.source)
    return rows_of(session, np.tile(np.arange(max(n // 100, 1)), 100))


def one_class(session: Session) -> Session:
    """The rows of class 0."""
    assert session.source.labels is not None
    return rows_of(session, np.flatnonzero(session.source.labels.numpy() == 0))


def constant_latent(session: Session) -> Session:
    """Every latent is the first of its batch, in training; every one is the first there is, in sampling."""
    model: Any = session.plan.model
    noise, latents = model._noise, model._latents
    model._noise = lambda at: (z := noise(at))[:1].expand_as(z)
    model._latents = lambda n, threshold, seed, start: latents(1, threshold, 0, 0).expand(n, -1)
    return session


def nan_pixel(session: Session) -> Session:
    """One pixel of one row is not a number."""
    data = to_unit(_all(session.source)).clone()
    data[len(data) // 2].view(-1)[0] = torch.nan
    return rows_of(session, np.arange(len(session.source)), data=data)


def dead_units(session: Session) -> Session:
    """Biases of -10 before the generator's ReLUs."""
    for group in session.plan.model.modules():
        if isinstance(group, nn.Sequential):
            for layer, after in zip(group, [*group][1:]):
                if isinstance(after, nn.ReLU) and getattr(layer, "bias", None) is not None:
                    nn.init.constant_(layer.bias, -10.0)  # type: ignore[arg-type]
    return session


def few(session: Session) -> Session:
    """64 rows."""
    chosen = np.sort(np.random.default_rng(0).choice(len(session.source), 64, replace=False))
    return rows_of(session, chosen)


def _all(source: Source) -> torch.Tensor:
    return source.rows(np.arange(len(source)))


# The runs


@dataclass(frozen=True)
class Case:
    """A recipe with options, what is planted, and the alarms of which one has to be raised: `NAME`, or `NAME:WORD` with
    a word of its evidence. Healthy runs accept none."""

    recipe: str = "dcgan"
    options: Mapping[str, str] = field(default_factory=dict)
    plant: Plant | None = None
    accepted: tuple[str, ...] = ()


BASE = {"width": "16", "generator.lr": "1e-3", "discriminator.lr": "1e-3"}
BARE = {"discriminator_norm": "none"}
LABELS = ("labels-unrelated", "classifier-at-chance", "labels-ignored", "discriminator-ignores-labels")
FAST = ("exploding-gradient", "exploding-weights", "not-finite", "samples-not-finite", "oscillation", "dead-units")

FAILURES = {
    "rate x100": Case(
        options={"generator.lr": "1e-1", "discriminator.lr": "1e-1"}, accepted=(*FAST, "discriminator-overpowers")
    ),
    "D frozen": Case(plant=frozen("discriminator"), accepted=("frozen-player:discriminator",)),
    "G frozen": Case(plant=frozen("generator"), accepted=("frozen-player:generator",)),
    "labels shuffled": Case("acgan", plant=labels_shuffled, accepted=LABELS),
    "duplicated 100x": Case(plant=duplicated, accepted=("data-duplicates",)),
    "one class": Case(plant=one_class, accepted=("data-single-class",)),
    "constant latent": Case(plant=constant_latent, accepted=("constant-latent", "collapse")),
    "clip 1e-5": Case(
        options={"objective": "wasserstein", "clip": "1e-5"} | BARE,
        accepted=("discriminator-useless", "vanishing-gradient"),
    ),
    "NaN pixel": Case(plant=nan_pixel, accepted=("data-not-finite", "not-finite")),
    "dead ReLUs": Case(plant=dead_units, accepted=("dead-units",)),
    "unconstrained D, 10 steps": Case(
        options={"objective": "wasserstein", "discriminator_steps": "10"} | BARE,
        accepted=("unconstrained-critic", "exploding-gradient", "exploding-weights"),
    ),
    "64 images": Case(plant=few, accepted=("memorisation",)),
}
HEALTHY = {
    "dcgan": Case(),
    "dcgan, hinge, spectral": Case(options={"objective": "hinge", "spectral": "true"} | BARE),
    "dcgan, wgan-gp": Case(options={"objective": "wasserstein", "gradient_penalty": "10"} | BARE),
    "dcgan, r1": Case(options={"r1": "1"} | BARE),
    "dcgan, relativistic, r1, r2": Case(options={"objective": "relativistic", "r1": "1", "r2": "1"} | BARE),
    "acgan": Case("acgan"),
}
DATA = {"mnist": ("mnist", None), "fashion": ("fashion_mnist", None), "flowers": (FLOWERS, "32")}
SETS = {"tuning": (("mnist",), range(3)), "report": (("fashion", "flowers"), range(3, 6))}


@dataclass(frozen=True)
class Training:
    """A case on one data set with one seed."""

    name: str
    case: Case
    data: str
    seed: int

    @property
    def key(self) -> str:
        """Its name among all."""
        words = f"{self.name}-{self.data}-{self.seed}"
        return "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in words)

    @property
    def fails(self) -> bool:
        """Whether a failure is planted."""
        return bool(self.case.accepted)


def trainings(name: str) -> list[Training]:
    """Every failure once, data sets and seeds taking turns; healthy runs likewise until there are twelve."""
    data, seeds = SETS[name]
    failures = [
        Training(name, case, data[k % len(data)], seeds[k % 3]) for k, (name, case) in enumerate(FAILURES.items())
    ]
    twelve = [(place, case) for place in range(2) for case in HEALTHY.items()]
    return failures + [
        Training(name, case, data[place % len(data)], seeds[(k + place) % 3])
        for k, (place, (name, case)) in enumerate(twelve)
    ]


# Running one


def train_one(training: Training, out: Path, steps: int) -> None:
    """Train it in this process; that it breaks off is part of what is looked at."""
    case, (word, size) = training.case, DATA[training.data]
    run = {"steps": steps, "seed": training.seed, "size": size, "quiet": True}
    session = settle(case.recipe, out=out, data=word, run=run, recipe=BASE | dict(case.options))
    try:
        play(case.plant(session) if case.plant else session)
    except (UserError, MachineError) as error:
        print(error, file=sys.stderr)


def alarms(run: Path, again: bool = False) -> list[dict[str, Any]]:
    """The alarms that were raised, from the log; `again`: those that would be."""
    lines = lines_of(run)
    if not again:
        return [line for line in lines if "alarm" in line]
    record = RunFolder(run).record()
    assert record is not None
    monitor: Monitor = fresh_monitor(record)
    evidence = [line for line in lines if "alarm" not in line and "alarm over" not in line]
    return [alarm.line for line in evidence for alarm in monitor.take(line).raised]


def named(training: Training, found: Iterable[Mapping[str, Any]], steps: int) -> Mapping[str, Any] | None:
    """The first accepted alarm at half the budget or before."""
    for alarm in found:
        for accepted in training.case.accepted:
            name, _, word = accepted.partition(":")
            if alarm["alarm"] == name and word in alarm["evidence"] and alarm["at"] <= steps / 2:
                return alarm
    return None


class Book:
    """Finished runs of a set, and their logs below `folder`."""

    def __init__(self, name: str, folder: Path, steps: int) -> None:
        self.name, self.folder, self.steps = name, folder, steps
        self.path = ROOT / "docs" / "results" / f"health-{name}.json"
        self.lock = threading.Lock()

    def done(self) -> dict[str, dict[str, Any]]:
        """By key."""
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def run(self, training: Training) -> None:
        """Train one in a process of its own and keep its alarms."""
        began, out = time.monotonic(), self.folder / training.key
        words = ["--one", training.key, "--set", self.name, "--out", str(self.folder), "--steps", str(self.steps)]
        done = subprocess.run([sys.executable, "-m", "benchmarks.health", *words], capture_output=True, text=True)
        if done.returncode:
            print(f"{training.key}: exit {done.returncode}\n{done.stderr[-2000:]}", flush=True)
            return
        found = {"seconds": round(time.monotonic() - began), "steps": self.steps} | machine_of(out)
        found |= {"version": simulacra.__version__, "torch": torch.__version__}
        self.keep(training, found | {"alarms": alarms(out)})

    def keep(self, training: Training, found: Mapping[str, Any]) -> None:
        """Write one down."""
        with self.lock:
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text(json.dumps(self.done() | {training.key: found}, indent=1) + "\n")
        print(f"{training.key}: {', '.join(a['alarm'] for a in found['alarms']) or 'no alarm'}", flush=True)


# Telling


def table(book: Book, rows: list[Training]) -> str:
    """The confusion table and a line for every run."""
    done = book.done()
    there = [(one, done[one.key]) for one in rows if one.key in done]
    failures = [(one, named(one, found["alarms"], found["steps"])) for one, found in there if one.fails]
    false = [one for one, found in there if not one.fails and found["alarms"]]
    healthy = [one for one, _ in there if not one.fails]
    hit = sum(alarm is not None for _, alarm in failures)
    confusion = [["planted", hit, len(failures) - hit], ["healthy", len(false), len(healthy) - len(false)]]
    lines = [_line(one, found) for one, found in there]
    head = ["run", "data", "seed", "named by", "at step", "other alarms", "seconds"]
    return f"{markdown(['', 'alarm', 'no alarm'], confusion)}\n\n{markdown(head, lines)}"


def _line(one: Training, found: Mapping[str, Any]) -> list[object]:
    alarm = named(one, found["alarms"], found["steps"])
    others = [f"{each['alarm']} ({each['at']})" for each in found["alarms"] if each is not alarm]
    name, at = (alarm["alarm"], alarm["at"]) if alarm else ("none", "-")
    shown = [name, at] if one.fails else ["-", "-"]
    return [one.name, one.data, one.seed, *shown, ", ".join(others) or "none", found["seconds"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--set", choices=SETS, default="report", help="data and seeds")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--steps", type=int, default=STEPS, help="budget of every run")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of keys")
    parser.add_argument("--one", help="train this key in this process, and stop")
    parser.add_argument("--again", action="store_true", help="find the alarms of kept logs again, and stop")
    parser.add_argument("--show", action="store_true", help="show what is finished, and stop")
    given = parser.parse_args()
    rows = trainings(given.set)
    if given.one:
        return train_one(next(row for row in rows if row.key == given.one), given.out / given.one, given.steps)
    folder = given.out / f"health-{given.set}"
    book, done = Book(given.set, folder, given.steps), Book(given.set, folder, given.steps).done()
    wanted = [row for row in rows if not given.only or any(row.key.startswith(word) for word in given.only)]
    for row in wanted if given.again else []:
        if row.key in done:
            book.keep(row, done[row.key] | {"alarms": alarms(folder / row.key, again=True)})
    if not (given.show or given.again):
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(book.run, [row for row in wanted if row.key not in done]))
    text = table(book, rows)
    write("health", text) if given.set == "report" else print(text)


if __name__ == "__main__":
    main()
