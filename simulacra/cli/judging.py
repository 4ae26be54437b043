"""Commands that judge models and data sets."""

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from simulacra.cli.options import OWN_OPTIONS, Json, given, pairs, print_table, with_options
from simulacra.protocol import Protocol
from simulacra.settings import parse_size

extractor_app = typer.Typer(help="Feature extractors of your own.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(context_settings=OWN_OPTIONS)(evaluate)
    app.command()(measures)
    app.command()(compare)
    app.add_typer(extractor_app, name="extractor")


@with_options(Protocol, leave_out=("options",))
def evaluate(
    context: typer.Context,
    subjects: Annotated[list[str] | None, typer.Argument(help="runs, artifacts or hub ids, side by side")] = None,
    real: Annotated[str | None, typer.Option(help="data to compare with, as for `train` (default: the run's)")] = None,
    fake: Annotated[list[str] | None, typer.Option(help="data judged like samples; may be given again")] = None,
    fake_split: Annotated[str, typer.Option(help="rows of --fake: train, test or all")] = "all",
    size: Annotated[str | None, typer.Option(help="resize images of --real and --fake to this, as 64 or 64x48")] = None,
    channels: Annotated[int | None, typer.Option(help="1: --real and --fake as grey, 3: as colour")] = None,
    skip_broken: Annotated[bool, typer.Option(help="leave out files that cannot be read")] = False,
    cache: Annotated[bool, typer.Option(help="keep features of data sets on disk")] = True,
    pictures: Annotated[Path | None, typer.Option(help="folder for pictures: nearest neighbours of memorised")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
    quiet: Annotated[bool, typer.Option(help="no progress")] = False,
    as_json: Json = False,
    **protocol: Any,
) -> None:
    """Score models, or data sets against another, and keep each score with the whole protocol behind it.

    Scores of a run or an artifact are added to its metrics.json and its card. Measures have options of their own, such
    as --kid.subsets 50: see `simulacra measures`.
    """
    from simulacra.judging import evaluate_all
    from simulacra.subjects import View

    names, own = _apart([*(subjects or []), *context.args])
    view = View(word="", size=parse_size(size), channels=channels, skip_broken=skip_broken)
    try:
        found = evaluate_all(
            names,
            protocol=Protocol.read(given(protocol) | {"options": own}, "evaluate"),
            real=real,
            fake=fake or [],
            fake_split=fake_split,
            view=view,
            device=device,
            cache=cache,
            pictures=pictures,
            quiet=quiet,
        )
    except KeyboardInterrupt:
        print("simulacra: interrupted; whole parts of the features are kept, scores are not", file=sys.stderr)
        raise typer.Exit(130) from None
    if int(os.environ.get("RANK", "0")) > 0:  # torchrun's other processes have the same to say
        return
    if as_json:
        print(json.dumps([each.as_dict() for each in found], indent=1))
    else:
        _print_scores(found)
    _say_what_to_mind(found)


def _say_what_to_mind(found: list[Any]) -> None:
    """Warnings on stderr, whatever else is printed; then what could not be computed, which is a mistake to mend."""
    for each in found:
        for warning in each.warnings:
            print(f"warning: {each.title}: {warning}", file=sys.stderr)
    for each in found:
        for reason in each.refused.values():
            print(f"simulacra: {each.title}: {reason}", file=sys.stderr)
    if any(each.refused for each in found):
        raise typer.Exit(2)


def _apart(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Subjects, and options of measures with their values: click hands over both in one list."""
    subjects: list[str] = []
    options: list[str] = []
    for word in words:
        valueless = options and options[-1].startswith("--") and "=" not in options[-1]
        (options if word.startswith("--") or valueless else subjects).append(word)
    return subjects, pairs(options, ["cache", "no-cache", "quiet", "skip-broken", "json"])


def _print_scores(found: list[Any]) -> None:
    """Scores by row, subjects by column; then how they were made."""
    from simulacra.metrics.catalogue import better
    from simulacra.scorebook import how, number

    ways = better()
    names = list(dict.fromkeys(name for each in found for name in each.scores))
    rows = []
    for name in names:
        scores = [each.scores.get(name) for each in found]
        kinds = {str(s.facts["kind"]): None for s in scores if s and "kind" in s.facts}  # exact, bound, estimate
        title = f"{name} ({' / '.join(kinds)})" if kinds else name
        rows.append([title, *(number(s.value, s.standard_error) if s else "" for s in scores), ways[name]])
    if not rows:
        return
    print_table(["score", *(each.title for each in found), "better"], rows)
    for each in found:
        words = how(each.as_dict())
        print(f"{each.title}: {'; '.join(f'{name}: {text}' for name, text in words.items())}")


def measures(as_json: Json = False) -> None:
    """What can be measured: every measure, its scores, and its options."""
    from simulacra.metrics.catalogue import measures as all_measures

    entries = [
        {
            "measure": name,
            "scores": dict(kind.better),
            "options": {option: field.default for option, field in kind.Config.settings()},
            "about": _first_sentence(kind.__doc__ or ""),
        }
        for name, kind in all_measures().items()
    ]
    if as_json:
        print(json.dumps(entries, indent=1))
        return
    rows = [
        [
            "\n".join([entry["measure"], *(f"--{entry['measure']}.{o} {v}" for o, v in entry["options"].items())]),
            "\n".join(f"{score} ({way})" if way != "neither" else score for score, way in entry["scores"].items()),
            entry["about"],
        ]
        for entry in entries
    ]
    print_table(["measure and options", "scores (better)", ""], rows)


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.])\s+(?=[A-Z])", " ".join(text.split("\n\n")[0].split()))[0]


def compare(
    subjects: Annotated[list[str], typer.Argument(help="runs or artifacts")],
    out: Annotated[Path, typer.Option(help="the report: one HTML file that needs nothing else")] = Path("compare.html"),
    seed: Annotated[int, typer.Option(min=0, max=2**62 - 1, help="which samples are shown")] = 0,
    truncation: Annotated[bool, typer.Option(help="draw truncation curves, which takes some sampling")] = True,
    features: Annotated[
        str | None, typer.Option(help="extractor of those curves (default: that of the newest score)")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
) -> None:
    """Models side by side on one page: samples of the same seed, scores with errors, curves over training."""
    from simulacra.comparison import compare as write_report

    write_report(subjects, out, seed=seed, truncation=truncation, features=features, device=device)
    print(f"report in {out}")


@extractor_app.command("train")
def train_extractor(
    data: Annotated[str, typer.Option(help="labelled data, as for `train`")],
    out: Annotated[Path, typer.Option(help="the extractor: X.safetensors, for --features X.safetensors")],
    epochs: Annotated[int, typer.Option(min=1, help="passes over the training images")] = 8,
    batch: Annotated[int, typer.Option(min=2, help="images in a batch")] = 128,
    seed: Annotated[int, typer.Option(min=0, max=2**62 - 1, help="key of all randomness")] = 0,
    size: Annotated[str | None, typer.Option(help="resize images to this, as 64 or 64x48")] = None,
    channels: Annotated[int | None, typer.Option(help="1: as grey, 3: as colour")] = None,
    mirror: Annotated[bool, typer.Option(help="flip images left to right by a fair coin")] = False,
    skip_broken: Annotated[bool, typer.Option(help="leave out files that cannot be read")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
    quiet: Annotated[bool, typer.Option(help="no progress")] = False,
    as_json: Json = False,
) -> None:
    """Train a classifier on labelled images; its last hidden layer is an extractor for images of that kind."""
    from simulacra.features.training import train_and_save

    shown = _Course(batch, quiet)
    facts = train_and_save(
        data,
        out,
        epochs=epochs,
        batch=batch,
        seed=seed,
        size=parse_size(size),
        channels=channels,  # type: ignore[arg-type]
        mirror=mirror,
        skip_broken=skip_broken,
        device=device,
        progress=shown,
    )
    shown.close()
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    right = (
        "" if facts["accuracy"] is None else f", {facts['accuracy']:.2%} right on {facts['test_rows']:,} test images"
    )
    print(f"extractor in {out}: {facts['rows']:,} images of {len(facts['spec']['classes'])} classes{right}")


class _Course:
    """The progress of an extractor's training, shown as any training's."""

    def __init__(self, batch: int, quiet: bool) -> None:
        self.batch, self.quiet = batch, quiet
        self._shown: Any = None
        self._began = time.monotonic()

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """So many of all steps are done, the last one with this loss in nats."""
        from simulacra.journal import Standing, progress

        self._shown = self._shown or progress(steps, "extractor", 0, self.quiet)
        speed = step / max(time.monotonic() - self._began, 1e-9)
        left = (steps - step) / max(speed, 1e-9)
        self._shown.show(Standing(step, self.batch * speed, left, {"train/loss": loss}))

    def close(self) -> None:
        """Leave the screen in order."""
        if self._shown:
            self._shown.close()
