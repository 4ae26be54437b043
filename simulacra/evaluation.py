"""Judging: rows go to measures through extractors, under one protocol that is written down beside every score."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra import __version__, artifact
from simulacra.capabilities import HasLogProb, Samples, verbs
from simulacra.data import Source
from simulacra.data.batch import to_unit
from simulacra.errors import UserError
from simulacra.features import cache as feature_cache
from simulacra.features.catalogue import default_extractor, find_extractor
from simulacra.features.extractor import Extractor
from simulacra.images import to_uint8
from simulacra.metrics import catalogue
from simulacra.metrics.measure import Measure, Score, Seen, Side, lacking
from simulacra.metrics.of_model import ModelMeasure, Setting
from simulacra.play import Table
from simulacra.protocol import Protocol
from simulacra.scorebook import ScoreBook, listing, of_subject
from simulacra.sides import Rows, Sides
from simulacra.subjects import Subject, View
from simulacra.tally import Tally

SMALL = 1000  # rows on either side below which the default is KID, not FID
BLOCK = 500  # samples drawn at a time
NEIGHBOURS = ("precision", "recall", "density", "coverage")
WORLDS = ("ring", "grid")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores and all they depend on.

    Attributes:
        title: what was judged.
        scores: by name.
        record: the protocol in JSON's types: `subject`, `sides`, `features`, versions, device, time.
        warnings: one sentence each.
        pictured: where the memorisation check was made, the samples that lie nearest to the training set, each
            followed by its nearest training row: images in [−1, 1].
    """

    title: str
    scores: Mapping[str, Score]
    record: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    pictured: Tensor | None = None

    def as_dict(self) -> dict[str, Any]:
        """The whole in JSON's types, as `metrics.json` holds it."""
        kinds = catalogue.kinds_of_scores()
        scores = {name: _as_dict(name, score, kinds[name]) for name, score in self.scores.items()}
        return {**self.record, "warnings": list(self.warnings), "scores": scores}


def _as_dict(name: str, score: Score, kind: catalogue.Kind) -> dict[str, Any]:
    """A score with its measure, the sides that it saw, and what it saw them through."""
    error = {} if score.standard_error is None else {"standard_error": score.standard_error}
    seen = {"measure": kind.name, "sides": dict(kind.sides), "through": _extractor_of(kind)}
    return {"value": score.value, **error, "better": kind.better[name], **seen, **score.facts}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where judging happens: the device, the ranks that judge together, the cache of features, who sees progress."""

    device: torch.device | str = "cpu"
    table: Table = field(default_factory=Table)
    cache: Path | None = None
    tally: Tally = field(default_factory=Tally)


def judge(subject: Subject, protocol: Protocol, *, real: View | None = None, bench: Bench | None = None) -> Evaluation:
    """The scores of `subject` under `protocol`, compared with `real` or else with the data of its run.

    Raises:
        UserError: there is nothing to compare with, the sides do not fit each other, or a measure cannot be had of
            them; the line says which and the way out.
    """
    case = Case(subject, protocol, real or subject.trained_on, bench or Bench())
    case.check()
    return case.evaluation()


def keep(subject: Subject, evaluation: Evaluation) -> None:
    """Append an evaluation to the `metrics.json` of its subject and list its scores on the model's card."""
    if subject.scores is None:
        return
    book = ScoreBook(subject.scores)
    book.append(evaluation.as_dict())
    if subject.artifact is not None:
        of_these = of_subject(book.read(), sha256=subject.facts["sha256"])
        in_training = of_subject(book.read(), kind="training", step=subject.facts.get("step"))
        artifact.list_scores(subject.artifact, listing([*in_training, *of_these]))


class Case:
    """One subject before the judge: its sides, the measures asked for, and the extractors they see the rows through.

    `extractors` are the one that was chosen, as "features", and "pixels", which some measures insist on."""

    def __init__(self, subject: Subject, protocol: Protocol, view: View | None, bench: Bench) -> None:
        self.subject, self.protocol, self.bench = subject, protocol, bench
        numbers = protocol.model_dump(include={"samples", "real_rows", "seed"})
        self.sides = Sides(subject, view, split=protocol.split or "train", **numbers)
        self.chosen = catalogue.choose(protocol.metrics or self._defaults())
        self.kinds = {name: catalogue.measures()[name] for name in self.chosen}
        name = protocol.features or default_extractor(self.sides.word, subject.spec)
        self.extractors = {"pixels": self._find("pixels")}
        self.extractors["features"] = self._find(name if self.uses("features") else "pixels")
        self.comparing, self.of_model = self._measures()
        self.plan: dict[str, list[tuple[Measure, Side]]] = {}
        for measure in self.comparing:
            for side, role in measure.sides.items():
                self.plan.setdefault(role, []).append((measure, side))
        self.used: dict[str, Rows] = {}
        self.absent: list[str] = []

    def _measures(self) -> tuple[list[Measure], list[ModelMeasure]]:
        """The measures asked for, with their options: those of rows, and those of the model."""
        options = catalogue.read_options(self.protocol.options, self.chosen)
        if "modes" in options:  # what follows from the data
            world = {"world": self.sides.word} if self.sides.word in WORLDS else {}
            groups = {"groups": self.extractors["features"].groups}
            options["modes"] = options["modes"].model_copy(update=world | groups)
        of_rows = [
            kind(options[n], spec=self.subject.spec) for n, kind in self.kinds.items() if issubclass(kind, Measure)
        ]
        of_model = [kind(options[n]) for n, kind in self.kinds.items() if issubclass(kind, ModelMeasure)]
        return of_rows, of_model

    def uses(self, extractor: str) -> bool:
        """Whether a measure asked for sees rows through it."""
        return any(_extractor_of(kind) == extractor for kind in self.kinds.values())

    def _find(self, name: str) -> Extractor:
        resizer = None if name == "pixels" else self.protocol.resizer
        return find_extractor(name, self.subject.spec, resizer=resizer, device=self.bench.device)

    def _defaults(self) -> list[str]:
        """Scores that suit the data where none is asked for."""
        model, spec = self.subject.model, self.subject.spec
        names: list[str] = []
        if model is None or isinstance(model, Samples):
            names += self._default_comparisons() if spec.kind == "image" else self._default_of_points()
        if isinstance(model, HasLogProb) and self.sides.view:
            names.append("log_prob")
        if not names:
            raise UserError(f"{self.subject.title} can only {', '.join(verbs(model))}: name measures with --metrics")
        return names

    def _default_of_points(self) -> list[str]:
        return ["modes", "swd"] if self.sides.word in WORLDS else ["swd"]

    def _default_comparisons(self) -> list[str]:
        few = min(len(self.sides.of("reference")), len(self.sides.of("samples"))) < SMALL
        return ["kid" if few else "fid", *NEIGHBOURS]

    # Scoring

    def evaluation(self) -> Evaluation:
        """The scores, the protocol, and what to mind. Wants to be checked before."""
        began = time.monotonic()
        scores = self.scores()
        doubts = self.extractors["features"].doubts(self.subject.spec) if self.uses("features") else []
        notes = [f"{name}: {note}" for name, score in scores.items() for note in score.notes]
        named = [name for name in self.absent if name in (self.protocol.metrics or ())]
        return Evaluation(
            title=self.subject.title,
            scores=scores,
            record=self.record() | {"seconds": round(time.monotonic() - began, 1)},
            warnings=tuple(dict.fromkeys([*doubts, *notes, *(f"{n} is not defined for these rows" for n in named)])),
            pictured=self.pictured(scores),
        )

    def check(self) -> None:
        """Refuse now what would be refused after much work. Raises UserError as `judge` does."""
        for measure in self.of_model:
            if not isinstance(self.subject.model, measure.capability):
                can = ", ".join(verbs(self.subject.model)) if self.subject.model else "be compared with other data"
                raise UserError(f"{measure.name} is no measure of {self.subject.title}, which can {can}")
        roles = [*self.plan, *(role for measure in self.of_model for role in measure.sides.values())]
        self.used = {role: self.sides.of(role) for role in roles}
        for role, seeing in self.plan.items():
            for measure, side in seeing:
                self._check_wants(measure, side, self.used[role].source)

    def _check_wants(self, measure: Measure, side: Side, source: Source | None) -> None:
        if "labels" in measure.wants and (source is None or source.labels is None):
            raise lacking(measure.name, "labels", side)
        if "labels" in measure.wants and source and source.spec.classes != self.subject.spec.classes:
            raise UserError(f"{measure.name}: the two sides have different classes: make their names agree")
        groups = self.extractors[measure.features or "features"].groups
        if "logits" in measure.wants and groups > 1:
            raise UserError(f"{measure.name} is of one classification, and this extractor makes {groups} side by side")
        if "logits" in measure.wants and self.extractors[measure.features or "features"].classes is None:
            raise lacking(measure.name, "logits", side)

    def scores(self) -> dict[str, Score]:
        """Every score that was asked for."""
        for role, seeing in self.plan.items():
            with self.bench.tally.task(f"{self.subject.title}: {role}", len(self.used[role])):
                self._show_rows(self.used[role], seeing)
        found = {}
        for measure in self.comparing:
            scores = measure.compute(self.bench.table)
            rows = {"rows": measure.counts}  # unless it says that it took fewer
            found[measure.name] = {n: replace(score, facts={**rows, **score.facts}) for n, score in scores.items()}
        for measure in self.of_model:
            self.bench.tally.say(f"{self.subject.title}: {measure.name}")
            found[measure.name] = measure.compute(self.subject.model, self._setting())
        self.absent = [s for name, asked in self.chosen.items() for s in asked if s not in found[name]]
        return {s: found[name][s] for name, asked in self.chosen.items() for s in asked if s in found[name]}

    def _show_rows(self, rows: Rows, seeing: Sequence[tuple[Measure, Side]]) -> None:
        """Show this rank's share of the rows to the measures, each through its extractor."""
        through: dict[str, list[tuple[Measure, Side]]] = {}
        for measure, side in seeing:
            through.setdefault(measure.features or "features", []).append((measure, side))
        if rows.source is None or rows.index is None:
            self._show_samples(rows, through)
            return
        for name, due in through.items():
            for seen in self._read(rows.source, rows.index, rows.number, self.extractors[name]):
                _tell(due, seen)

    def _read(
        self, source: Source, index: NDArray[np.int64], number: NDArray[np.int64], extractor: Extractor
    ) -> Iterator[Seen]:
        bench = self.bench
        folder = None if extractor.name == "pixels" else bench.cache  # pixels are read as fast from the data
        places = torch.from_numpy(np.ascontiguousarray(number))
        for place, said, labels in feature_cache.seen_rows(
            source, index, extractor, table=bench.table, folder=folder, progress=bench.tally.add
        ):
            yield Seen(places[place], said.features, said.logits, labels)

    def _show_samples(self, rows: Rows, through: Mapping[str, Sequence[tuple[Measure, Side]]]) -> None:
        """Samples as they would come out of a file: images are rounded to bytes."""
        model, table = self.subject.model, self.bench.table
        assert isinstance(model, Samples)
        first, last = (len(rows) * k // table.size for k in (table.rank, table.rank + 1))
        for start in range(first, last, BLOCK):
            n = min(BLOCK, last - start)
            x = model.sample(n, seed=rows.seed, start=start)
            x = to_uint8(x) if self.subject.spec.kind == "image" else x
            for name, due in through.items():
                said = self.extractors[name](x)
                _tell(due, Seen(torch.arange(start, start + n), said.features, said.logits))
            self.bench.tally.add(n)

    def _setting(self) -> Setting:
        return Setting(test=self._test, features=self._features, seed=self.protocol.seed, table=self.bench.table)

    def _test(self, count: int | None) -> Iterator[tuple[int, Tensor]]:
        """This rank's rows among the first `count` of the test split."""
        source, table = self.sides.source("test"), self.bench.table
        count = min(count or len(source), len(source))
        first, last = (count * k // table.size for k in (table.rank, table.rank + 1))
        for start in range(first, last, BLOCK):
            index = np.arange(start, min(start + BLOCK, last))
            yield start, to_unit(source.rows(index)).to(self.bench.device)

    def _features(self, x: Tensor) -> Tensor:
        """Features of the model's own output, which is not rounded: small differences count."""
        bytes_wide = (x + 1.0) * 127.5 if self.subject.spec.kind == "image" else x
        return self.extractors["features"](bytes_wide).features

    # Telling

    def record(self) -> dict[str, Any]:
        """What `metrics.json` says of the protocol."""
        subject = {"title": Path(self.subject.title).name, **self.subject.facts}
        return {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "simulacra": __version__,
            "torch": torch.__version__,
            "device": str(self.bench.device),
            "ranks": self.bench.table.size,
            "subject": subject,
            "sides": {role: rows.facts for role, rows in self.used.items()},
            "features": self.extractors["features"].facts if self.uses("features") else None,
            "seed": self.protocol.seed,
            "measures": {m.name: m.config.model_dump(mode="json") for m in (*self.comparing, *self.of_model)},
            "options": {dotted: self._option(dotted) for dotted in self.protocol.options},
        }

    def _option(self, dotted: str) -> Any:
        """The value of an option that was given, as its measure reads it."""
        name, _, option = dotted.partition(".")
        return next(getattr(m.config, option) for m in (*self.comparing, *self.of_model) if m.name == name)

    def pictured(self, scores: Mapping[str, Score]) -> Tensor | None:
        """The samples that lie nearest to the training set, each followed by the training row."""
        nearest = scores["memorised"].facts["nearest"] if "memorised" in scores else []
        if not nearest or self.subject.spec.kind != "image":
            return None
        samples = self.sides.shown(self.used["samples"], [int(pair[0]) for pair in nearest])
        rows = self.sides.shown(self.used["train"], [int(pair[1]) for pair in nearest])
        return torch.stack([samples, rows], 1).flatten(0, 1)


def _tell(due: Sequence[tuple[Measure, Side]], seen: Seen) -> None:
    for measure, side in due:
        measure.update(side, seen)


def _extractor_of(kind: type[Measure] | type[ModelMeasure]) -> str | None:
    """Which extractor a measure sees rows through: the chosen one as "features", "pixels", or none."""
    if issubclass(kind, Measure):
        return kind.features or "features"
    return "features" if kind.uses_features else None
