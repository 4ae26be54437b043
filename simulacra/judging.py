"""From words to scores that are kept: opens what is to be judged, judges it, writes down what came of it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from simulacra import images
from simulacra.case import Bench, Case
from simulacra.distributed import Ranks, launched, process_group
from simulacra.errors import MachineError, UserError
from simulacra.evaluation import Evaluation, evaluated, keep
from simulacra.features.cache import default_folder
from simulacra.play import Table
from simulacra.precision import choose_device
from simulacra.protocol import Protocol
from simulacra.subjects import Subject, View, of_data, of_model
from simulacra.tally import tally

COLUMNS = 8  # of the picture of nearest neighbours: four pairs


def evaluate(
    what: str | Path | None = None,
    *,
    real: str | None = None,
    fake: str | None = None,
    fake_split: str = "all",
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    device: str = "auto",
    cache: bool = True,
    quiet: bool = True,
    **protocol: Any,
) -> Evaluation:
    """Judge a model (`what`: a run, an artifact or a hub id) or the data set `fake`, compared with the data set `real`.

    `protocol` are the settings of `protocol.Protocol`: `metrics`, `features`, `samples`, `split`, …; options of
    measures go in `options`, as {"kid.subsets": 50}. Scores of a run or an artifact are added to its `metrics.json`
    and its card.

    Measures that could not be computed are in `refused`, with the reason.

    Raises:
        UserError: nothing or two things to judge, or one that cannot be judged so; the line says the way out.
    """
    view = View(word="", size=size, channels=channels)
    subjects, fakes = ([] if what is None else [str(what)]), ([] if fake is None else [fake])
    read = Protocol.read(protocol, "evaluate")
    if len(subjects) + len(fakes) != 1:
        raise UserError("name one thing to judge: a model, or data as fake=")
    return evaluate_all(
        subjects,
        protocol=read,
        real=real,
        fake=fakes,
        fake_split=fake_split,
        view=view,
        device=device,
        cache=cache,
        quiet=quiet,
    )[0]


def evaluate_all(
    subjects: Sequence[str],
    *,
    protocol: Protocol,
    real: str | None = None,
    fake: Sequence[str] = (),
    fake_split: str = "all",
    view: View,
    device: str = "auto",
    cache: bool = True,
    pictures: Path | None = None,
    quiet: bool = False,
) -> list[Evaluation]:
    """Judge models (`subjects`) and data sets (`fake`), one after the other under one protocol, on all the ranks that
    torchrun launched; scores are kept as each is found. `view` says how data sets are opened. On ranks but the first
    the list is the same, and nothing is written.

    Raises:
        UserError: nothing to judge, data without something to compare them with, or what `judge` raises.
    """
    if not subjects and not fake:
        raise UserError("name what to judge: a run or an artifact, or data with --fake and --real")
    if fake and not real:
        raise UserError("--fake needs --real: the data that it is compared with")
    if not real and (view.size or view.channels or view.skip_broken):
        raise UserError(
            "a run's data is opened as it was for training: --size, --channels and --skip-broken need --real"
        )
    if pictures and not set(protocol.metrics or ()) & {"memorised", "copies", "memorisation"}:
        raise UserError("--pictures shows nearest training images: ask for them with --metrics memorised")
    against = None if real is None else replace(view, word=real)
    where = choose_device(device)
    with process_group(where):
        table = Ranks() if launched() else Table()
        bench = Bench(
            device=where,
            table=table,
            cache=default_folder() if cache else None,
            tally=tally(quiet or table.rank > 0),
        )
        data = [of_data(replace(view, word=word), fake_split) for word in fake]
        cases = list(_cases(subjects, data, protocol, against, bench))
        for case in cases:  # a mistake in the last one must not cost the work on the first
            case.check()
        return [_kept(case, pictures) for case in cases]


def _cases(
    models: Sequence[str], data: Sequence[Subject], protocol: Protocol, real: View | None, bench: Bench
) -> Iterator[Case]:
    for where in models:
        subject = of_model(where, torch.device(bench.device))
        yield Case(subject, protocol, real or subject.trained_on, bench)
    whole = protocol.model_copy(update={"split": protocol.split or "all"})
    for subject in data:
        yield Case(subject, whole, real, bench)


def _kept(case: Case, pictures: Path | None) -> Evaluation:
    """Judge, and on the first rank write down what came of it."""
    subject, bench, found = case.subject, case.bench, evaluated(case)
    if bench.table.rank > 0:
        return found
    try:
        keep(subject, found)
        if pictures and found.pictured is not None:
            path = pictures / f"{subject.title.strip('/.').replace('/', '-')}-nearest.png"
            images.write_grid(found.pictured, path, COLUMNS)
            bench.tally.say(f"nearest training images, right of each sample: {path}")
    except MachineError as error:  # the scores can still be read
        return replace(found, refused={**found.refused, "metrics.json": str(error)})
    return found
