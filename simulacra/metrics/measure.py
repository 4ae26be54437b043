"""What every measure is: it sees rows of its sides, in any batches and on any ranks, and gives scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, final

import torch
from torch import Tensor

from simulacra import config as settings
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.play import Table

Side = Literal["real", "fake", "held_out"]
"""The reference rows, the rows that are judged, and rows kept back for whatever a measure chooses on them."""
Better = Literal["lower", "higher", "neither"]
WAYS_OUT: dict[tuple[str, Side], str] = {
    ("logits", "fake"): "choose an extractor that classifies: --features mnist, inception, or one of your own",
    ("labels", "fake"): "judge labelled rows, such as --fake folder:PATH with a folder for each class",
    ("labels", "real"): "compare with labelled rows, such as --real folder:PATH with a folder for each class",
}
WORDS = {"real": "the real side", "fake": "the generated side", "held_out": "the held-out side"}


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number with what is needed to trust it.

    Attributes:
        value: the score.
        standard_error: of the value, in its own unit, where one is known.
        facts: how it was measured beyond what all scores of an evaluation share, in JSON's types (`k`, `subsets`, …);
            `rows` is how many rows of each side it is of, by side.
        notes: warnings, one sentence each, for whoever reads the score.
    """

    value: float
    standard_error: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Seen(NamedTuple):
    """What an extractor says of some rows of a side.

    Attributes:
        index: int64 `[B]`, the rows' numbers in their side, from 0; a measure's result depends on them, never on
            how rows were batched, in which order they came, or which rank saw them.
        features: float32 `[B, D]`.
        logits: float32 `[B, K]`, unnormalised log p(y|x) of the extractor's classifier, or None.
        labels: int64 `[B]`, the rows' own classes, or None.
    """

    index: Tensor
    features: Tensor
    logits: Tensor | None = None
    labels: Tensor | None = None


class Measure(ABC):
    """`reset`, `update` with rows, `compute` scores: in bounded memory, and the same on any number of ranks.

    A concrete measure fills in the class attributes and the three methods with an underscore. To be found by the
    command line it is listed in `metrics.catalogue`.

    Attributes:
        name: its word, also the prefix of its options.
        better: its scores by name, and which way each is better.
        sides: the sides it sees, and which rows they are by default: "reference" (the split that is compared with),
            "samples" (what is judged), or a split by name ("train", "test", "validation").
        wants: what it needs beside features: "logits", "labels" or nothing.
        at_least: rows that each side must have.
        features: the extractor it must be given ("pixels"), or None where any will do.
        Config: its options.

    Args:
        config: its options; the defaults where left out.
        spec: what the rows are of which the features are, for measures that ask.
    """

    name: ClassVar[str]
    better: ClassVar[Mapping[str, Better]]
    sides: ClassVar[Mapping[Side, str]] = {"real": "reference", "fake": "samples"}
    wants: ClassVar[tuple[Literal["logits", "labels"], ...]] = ()
    at_least: ClassVar[int] = 2
    features: ClassVar[Literal["pixels"] | None] = None
    Config: ClassVar[type[settings.Config]] = settings.Config

    def __init__(self, config: settings.Config | None = None, *, spec: Spec | None = None) -> None:
        self.config, self.spec = config or self.Config(), spec
        self.reset()

    @final
    def reset(self) -> None:
        """Forget all rows."""
        self._counts: dict[str, int] = dict.fromkeys(self.sides, 0)
        self._width: int | None = None
        self._reset()

    @final
    def update(self, side: Side, seen: Seen) -> None:
        """See rows of `side`.

        Raises:
            UserError: features that are not finite, of another width than before, or without the logits or labels
                that the measure needs.
        """
        self._check(side, seen)
        self._counts[side] += len(seen.index)
        self._update(side, seen)

    @final
    def compute(self, table: Table | None = None) -> dict[str, Score]:
        """The scores by name, over the rows that all ranks of `table` have seen; equal on all of them.

        Raises:
            UserError: a side has fewer rows than the measure needs.
        """
        table = table or Table()
        counts = torch.tensor([float(self._counts[side]) for side in self.sides], dtype=torch.float64)
        table.sum([counts])
        self.counts: dict[Side, int] = {side: int(count) for side, count in zip(self.sides, counts.tolist())}
        self.require(self.counts)
        return self._compute(table)

    def require(self, counts: Mapping[Side, int]) -> None:
        """Refuse to measure so few rows of each side.

        Raises:
            UserError: a side has fewer rows than the measure needs.
        """
        for side, count in counts.items():
            if count < self.at_least:
                raise UserError(f"{self.name} needs at least {self.at_least} rows: {WORDS[side]} has {count}")

    def _check(self, side: Side, seen: Seen) -> None:
        if seen.features.ndim != 2:
            raise ValueError(f"features of shape {list(seen.features.shape)}, not [B, D]")
        width = seen.features.shape[1]
        if self._width not in (None, width):
            raise UserError(f"{self.name}: features are {width} numbers wide on {WORDS[side]}, {self._width} before")
        self._width = width
        for want in self.wants:
            if getattr(seen, want) is None:
                raise lacking(self.name, want, side)
        for values in (seen.features, seen.logits):
            if values is not None and not torch.isfinite(values).all():
                row = int(seen.index[(~torch.isfinite(values)).any(1)][0])
                raise UserError(f"{self.name}: row {row} of {WORDS[side]} has features that are not finite (NaN)")

    @abstractmethod
    def _reset(self) -> None:
        """Forget all rows."""

    @abstractmethod
    def _update(self, side: Side, seen: Seen) -> None:
        """See rows, which have been checked."""

    @abstractmethod
    def _compute(self, table: Table) -> dict[str, Score]:
        """The scores; `counts` holds the rows of each side over all ranks."""


class Kept:
    """Rows kept in memory: at most the first `limit` of a side, whatever order and batches they come in."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._index: list[Tensor] = []
        self._rows: list[Tensor] = []

    def add(self, index: Tensor, rows: Tensor) -> None:
        """Keep those of `rows` `[B, ...]` whose number is below the limit."""
        if self.limit is not None:
            inside = index < self.limit
            index, rows = index[inside], rows[inside.to(rows.device)]
        self._index.append(index.cpu())
        self._rows.append(rows.detach())

    def rows(self, table: Table) -> Tensor:
        """The rows `[N, ...]` of all ranks, by their number. Raises ValueError where two rows have one number."""
        index, rows = table.gather(_joined(self._index)), table.gather(_joined(self._rows))
        order = index.argsort()
        if len(index) and (index[order].diff() == 0).any():
            raise ValueError("two rows have one number")
        return rows.index_select(0, order.to(rows.device))


class KeepsBoth(Measure):
    """A measure of the first `rows` of both sides (an option of every such measure), which it keeps."""

    config: Any

    def _reset(self) -> None:
        self._kept: dict[Side, Kept] = {side: Kept(self.config.rows) for side in self.sides}

    def _update(self, side: Side, seen: Seen) -> None:
        self._kept[side].add(seen.index, seen.features)

    def _rows(self, table: Table) -> tuple[Tensor, Tensor]:
        """The real rows and the generated ones, of all ranks."""
        return self._kept["real"].rows(table), self._kept["fake"].rows(table)


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if parts else torch.empty(0)


def lacking(measure: str, want: str, side: Side) -> UserError:
    """The error of a side without the logits or labels that a measure wants."""
    way_out = WAYS_OUT.get((want, side)) or WAYS_OUT[want, "fake"]
    return UserError(f"{measure} needs {want}, and {WORDS[side]} has none: {way_out}")


def mean_score(values: Tensor, **facts: Any) -> Score:
    """The mean of per-row values `[N]` as a score, with its standard error s/√N."""
    wide = values.double()
    error = (wide.std() / len(wide) ** 0.5).item() if len(wide) > 1 else None
    return Score(value=wide.mean().item(), standard_error=error, facts=facts)
