"""One subject before the judge: rows go to measures through extractors, and scores come out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simulacra import __version__
from simulacra.capabilities import HasClasses, HasFillBound, HasLogProb, HasPartition, Samples, verbs
from simulacra.data import Source
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
from simulacra.scorebook import ScoreBook
from simulacra.sides import Rows, Sides
from simulacra.subjects import Subject, View
from simulacra.tally import Tally

SMALL = 1000  # rows on either side below which the default is KID, not FID
BLOCK = 500  # samples drawn at a time
NEIGHBOURS = ("precision", "recall", "density", "coverage")
WORLDS = ("ring", "grid")

Seeing = Sequence[tuple[Measure, Side]]
"""Measures, each with the side whose rows it is to see."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where judging happens: the device, the ranks that judge together, the cache of features, who sees progress."""

    device: torch.device | str = "cpu"
    table: Table = field(default_factory=Table)
    cache: Path | None = None
    tally: Tally = field(default_factory=Tally)


class Case:
    """A subject, a protocol and the data to compare with, made ready.

    Attributes:
        extractors: the one that was chosen, as "features", and "pixels", which some measures insist on.
        plan: for every role, which measures see its rows, and as which side.
        used: the rows of every role, once checked.
        refused: measures that could not be computed after all, with the reason, once scored.

    Raises:
        UserError: an unknown measure, option or extractor, or data that cannot be opened.
    """

    def __init__(self, subject: Subject, protocol: Protocol, view: View | None, bench: Bench) -> None:
        self.subject, self.protocol, self.bench = subject, protocol, bench
        numbers = protocol.model_dump(include={"samples", "real_rows", "seed"})
        self.sides = Sides(subject, view, split=protocol.split or "train", **numbers)
        self.chosen = catalogue.choose(protocol.metrics if protocol.metrics is not None else self._defaults())
        if not self.chosen:
            raise UserError("--metrics names none: leave it out for what suits the data, or see `simulacra measures`")
        self.kinds = {name: catalogue.measures()[name] for name in self.chosen}
        options = catalogue.read_options(protocol.options, self.chosen)
        self.extractors = {"pixels": find_extractor("pixels", subject.spec), "features": self._chosen_extractor()}
        self.comparing, self.of_model = self._measures(options)
        self.plan: dict[str, list[tuple[Measure, Side]]] = {}
        for measure in self.comparing:
            for side, role in measure.sides.items():
                self.plan.setdefault(role, []).append((measure, side))
        self.used: dict[str, Rows] = {}
        self.refused: dict[str, str] = {}

    def _chosen_extractor(self) -> Extractor:
        spec, given = self.subject.spec, self.protocol
        if not self.uses("features"):
            return find_extractor("pixels", spec)
        name = given.features or default_extractor(self.sides.word, spec)
        return find_extractor(name, spec, resizer=given.resizer, device=self.bench.device)

    def _measures(self, options: dict[str, Any]) -> tuple[list[Measure], list[ModelMeasure]]:
        """The measures asked for, with their options: those of rows, and those of the model."""
        if "modes" in options:  # what follows from the data
            world = {"world": self.sides.word} if self.sides.word in WORLDS else {}
            groups = {"groups": self.extractors["features"].groups}
            options["modes"] = options["modes"].model_copy(update=world | groups)
        spec = self.subject.spec
        of_rows = [kind(options[n], spec=spec) for n, kind in self.kinds.items() if issubclass(kind, Measure)]
        of_model = [kind(options[n]) for n, kind in self.kinds.items() if issubclass(kind, ModelMeasure)]
        return of_rows, of_model

    def uses(self, extractor: str) -> bool:
        """Whether a measure asked for sees rows through it."""
        return any(extractor_of(kind) == extractor for kind in self.kinds.values())

    # What suits the data where nothing is asked for

    def _defaults(self) -> list[str]:
        model, spec = self.subject.model, self.subject.spec
        names: list[str] = []
        if model is None or isinstance(model, Samples):
            names += self._default_comparisons() if spec.kind == "image" else self._default_of_points()
        if isinstance(model, HasLogProb) and self.sides.view:
            names.append("ais" if isinstance(model, HasPartition) else "log_prob")
        if isinstance(model, HasFillBound) and self.sides.view:
            names.append("filling")
        if not names:
            raise UserError(f"{self.subject.title} can only {', '.join(verbs(model))}: name measures with --metrics")
        return names

    def _default_of_points(self) -> list[str]:
        return ["modes", "swd"] if self.sides.word in WORLDS else ["grammar" if self.sides.word == "grammar" else "swd"]

    def _default_comparisons(self) -> list[str]:
        few = min(len(self.sides.of("reference")), len(self.sides.of("samples"))) < SMALL
        return ["kid" if few else "fid", *NEIGHBOURS]

    # Refusing before any work

    def check(self) -> None:
        """Refuse now what would be refused after much work.

        Raises:
            UserError: a measure that is not one of such a subject, sides that do not fit each other or have too few
                rows, or scores that could not be kept.
        """
        for measure in self.of_model:
            self._check_model(measure)
        roles = [*self.plan, *(role for measure in self.of_model for role in measure.sides.values())]
        self.used = {role: self.sides.of(role) for role in roles}
        for measure in self.comparing:
            for side, role in measure.sides.items():
                self._check_wants(measure, side, self.used[role].source)
            self._check_classes(measure)
            measure.require({side: len(self.used[role]) for side, role in measure.sides.items()})
        if self.subject.scores is not None:
            ScoreBook(self.subject.scores).check()

    def _check_model(self, measure: ModelMeasure) -> None:
        if not isinstance(self.subject.model, measure.capability):
            can = ", ".join(verbs(self.subject.model)) if self.subject.model else "be compared with other data"
            raise UserError(f"{measure.name} is no measure of {self.subject.title}, which can {can}")
        if measure.uses_features and self.extractors["features"].whole_bytes:
            name = self.extractors["features"].name
            raise UserError(
                f"{measure.name} needs features of unrounded images, and {name} takes bytes: choose other --features"
            )

    def _check_wants(self, measure: Measure, side: Side, source: Source | None) -> None:
        extractor = self.extractors[measure.features or "features"]
        labelled = isinstance(self.subject.model, HasClasses) if source is None else source.labels is not None
        if "labels" in measure.wants and not labelled:
            raise lacking(measure.name, "labels", side)
        if "logits" in measure.wants and extractor.classes is None:
            raise lacking(measure.name, "logits", side)
        if "logits" in measure.wants and extractor.groups > 1:
            raise UserError(f"{measure.name} is of one classification: {extractor.name} makes {extractor.groups}")

    def _check_classes(self, measure: Measure) -> None:
        sources = [self.used[role].source for role in measure.sides.values()]
        if "labels" in measure.wants and len({source.spec.classes for source in sources if source}) > 1:
            raise UserError(f"{measure.name}: the two sides have different classes: make their names agree")

    # Scoring

    def scores(self) -> dict[str, Score]:
        """Every score that was asked for and could be had; `refused` says why others could not. Wants `check` before.

        Raises:
            UserError: rows that cannot be read, or samples that are not finite.
        """
        title, tally = self.subject.title, self.bench.tally
        for role, seeing in self.plan.items():
            with tally.task(f"{title}: {role}", len(self.used[role])):
                self._show(self.used[role], seeing)
        found: dict[str, dict[str, Score]] = {}
        for measure in self.comparing:
            tally.say(f"{title}: {measure.name}")
            self._keep(found, measure.name, lambda m=measure: _with_rows(m, m.compute(self.bench.table)))
        for measure in self.of_model:
            tally.say(f"{title}: {measure.name}")
            self._keep(found, measure.name, lambda m=measure: m.compute(self.subject.model, self._setting()))
        asked = [(name, score) for name, scores in self.chosen.items() for score in scores]
        for name, score in asked:
            if name in found and score not in found[name] and score in (self.protocol.metrics or ()):
                self.refused[score] = f"{score} is not defined for these rows"
        return {score: found[name][score] for name, score in asked if score in found.get(name, {})}

    def _keep(self, found: dict[str, dict[str, Score]], name: str, compute: Callable[[], dict[str, Score]]) -> None:
        """One measure's refusal must not cost the others."""
        try:
            found[name] = compute()
        except UserError as error:
            self.refused[name] = str(error)

    def _show(self, rows: Rows, seeing: Seeing) -> None:
        """Show this rank's share of the rows to the measures, each through its extractor."""
        through: dict[str, list[tuple[Measure, Side]]] = {}
        for measure, side in seeing:
            through.setdefault(measure.features or "features", []).append((measure, side))
        if rows.source is None:
            self._show_samples(rows, through)
            return
        for name, due in through.items():
            for seen in self._read(rows, rows.source, self.extractors[name]):
                _tell(due, seen)

    def _read(self, rows: Rows, source: Source, extractor: Extractor) -> Iterator[Seen]:
        bench = self.bench
        folder = None if extractor.name == "pixels" else bench.cache  # pixels are read as fast from the data
        number = torch.from_numpy(np.ascontiguousarray(rows.number))
        for place, said, labels in feature_cache.seen_rows(
            source, rows.index, extractor, table=bench.table, folder=folder, progress=bench.tally.add
        ):
            yield Seen(number[place], said.features, said.logits, labels)

    def _show_samples(self, rows: Rows, through: Mapping[str, Seeing]) -> None:
        """Samples as they would come out of a file: images are rounded to bytes."""
        model, table = self.subject.model, self.bench.table
        assert isinstance(model, Samples)
        first, last = (len(rows) * k // table.size for k in (table.rank, table.rank + 1))
        for start in range(first, last, BLOCK):
            n = min(BLOCK, last - start)
            x = self._finite(model.sample(n, seed=rows.seed, start=start), start)
            labels = model.labels(n, seed=rows.seed, start=start) if isinstance(model, HasClasses) else None
            for name, due in through.items():
                said = self.extractors[name](to_uint8(x) if self.subject.spec.kind == "image" else x)
                _tell(due, Seen(torch.arange(start, start + n), said.features, said.logits, labels))
            self.bench.tally.add(n)

    def _finite(self, x: Tensor, start: int) -> Tensor:
        bad = (~torch.isfinite(x).flatten(1).all(1)).nonzero().flatten()
        if len(bad):
            raise UserError(
                f"sample {start + int(bad[0])} of {self.subject.title} is not finite (NaN): it is not judged"
            )
        return x

    def _setting(self) -> Setting:
        return Setting(test=self._test, features=self._features, seed=self.protocol.seed, table=self.bench.table)

    def _test(self, count: int | None) -> Iterator[tuple[int, Tensor]]:
        """This rank's rows among the first `count` of the test split."""
        rows, table = self.used["test"], self.bench.table
        count = min(count or len(rows), len(rows))
        first, last = (count * k // table.size for k in (table.rank, table.rank + 1))
        for start in range(first, last, BLOCK):
            numbers = list(range(start, min(start + BLOCK, last)))
            yield start, self.sides.shown(rows, numbers).to(self.bench.device)

    def _features(self, x: Tensor) -> Tensor:
        """Features of the model's own output, which is not rounded: small differences count."""
        bytes_wide = (x + 1.0) * 127.5 if self.subject.spec.kind == "image" else x
        return self.extractors["features"](bytes_wide).features

    # Telling

    def record(self) -> dict[str, Any]:
        """What `metrics.json` says of the protocol."""
        return {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "simulacra": __version__,
            "torch": torch.__version__,
            "device": str(self.bench.device),
            "ranks": self.bench.table.size,
            "subject": {"title": Path(self.subject.title).name, **self.subject.facts},
            "sides": {role: rows.facts for role, rows in self.used.items()},
            "features": self.extractors["features"].facts if self.uses("features") else None,
            "seed": self.protocol.seed,
            "measures": {m.name: m.config.model_dump(mode="json") for m in (*self.comparing, *self.of_model)},
        }

    def doubts(self) -> Iterator[str]:
        """What to mind whatever the scores."""
        if self.uses("features"):
            yield from self.extractors["features"].doubts(self.subject.spec)
        if "parzen" in self.kinds and self.subject.trained_on == self.sides.view:
            yield (
                "parzen: sigma is chosen on rows that the model was trained on; the original protocol trains on the "
                "first five sixths only"
            )

    def pictured(self, scores: Mapping[str, Score]) -> Tensor | None:
        """The samples that lie nearest to the training set, each followed by the training row."""
        nearest = scores["memorised"].facts["nearest"] if "memorised" in scores else []
        if not nearest or self.subject.spec.kind != "image":
            return None
        samples = self.sides.shown(self.used["samples"], [int(pair[0]) for pair in nearest])
        rows = self.sides.shown(self.used["train"], [int(pair[1]) for pair in nearest])
        return torch.stack([samples, rows], 1).flatten(0, 1)


def _with_rows(measure: Measure, scores: dict[str, Score]) -> dict[str, Score]:
    """Scores that say of how many rows they are, unless they do."""
    return {n: replace(s, facts={"rows": dict(measure.counts), **s.facts}) for n, s in scores.items()}


def _tell(due: Seeing, seen: Seen) -> None:
    for measure, side in due:
        measure.update(side, seen)


def extractor_of(kind: catalogue.Kind) -> str | None:
    """Which extractor a measure sees rows through: the chosen one as "features", "pixels", or none."""
    if issubclass(kind, Measure):
        return kind.features or "features"
    return "features" if kind.uses_features else None
