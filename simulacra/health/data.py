"""What a data set looks like before it is trained on, and the detectors of what is wrong with it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from simulacra.data.batch import to_unit
from simulacra.data.source import Source
from simulacra.health.alarm import Alarm, alarm
from simulacra.health.rows import Means, above_chance
from simulacra.health.thresholds import Thresholds
from simulacra.randomness import key_of

LOOKED_AT = 10_000  # rows at most
BYTES = 64 << 20  # that rows looked at take at most
DECODED = 128  # rows at most where each has to be decoded: half a second of photographs
LABELLED = 2_000  # rows at most that say whether labels have to do with them
ENOUGH = 200  # rows that it takes to say so: streamed data are not asked


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What was seen of a data set.

    Attributes:
        rows, looked_at: how many there are, and how many of them were drawn.
        broken: how many of all rows in memory hold values that are not finite; the name of the first.
        distinct: share of the rows looked at that are no copies.
        bits: whether rows are vectors of zeros and ones alone, of which there are so many and no more.
        constant: share of their numbers that are equal in all of them.
        low, high: the least and the largest number.
        classes: classes that are declared, 0 where there are none; `shown` of them have rows.
        accuracy, above: of the nearest class mean on held rows, and by how many standard errors that is above chance.
    """

    rows: int
    looked_at: int
    kind: str
    broken: int = 0
    first_broken: str | None = None
    distinct: float = 1.0
    bits: bool = False
    constant: float = 0.0
    low: float = 0.0
    high: float = 0.0
    classes: int = 0
    shown: int = 0
    accuracy: float | None = None
    above: float | None = None

    @property
    def line(self) -> dict[str, Any]:
        """Its line of the log."""
        return {"data": {name: value for name, value in asdict(self).items() if value is not None}, "at": 0}

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> Self:
        """A line of the log; what it holds beyond these fields is left out."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in line["data"].items() if name in known})


def drawn(source: Source, most: int, bytes_: int = BYTES) -> np.ndarray:
    """Numbers of at most `most` rows, ascending, drawn by a key of their own; fewer where rows are big."""
    fits = max(bytes_ // (4 * source.spec.numel), 16)
    most = min(most, fits, len(source), most if source.in_memory else DECODED)
    chosen = np.random.default_rng(key_of(len(source), 8)).choice(len(source), most, replace=False)
    return np.sort(chosen).astype(np.int64)


def look(source: Source, conditional: bool) -> DataFacts:
    """Look at a data set; `conditional`: whether its labels are to be learned from. Takes at most 64 MiB beside it."""
    index = drawn(source, LOOKED_AT)
    rows = source.rows(index)
    flat, broken = rows.flatten(1), _broken(source)
    finite = flat[torch.isfinite(flat).all(1)] if flat.is_floating_point() else flat
    unit = to_unit(finite[:1] if not len(finite) else torch.stack([finite.amin(0), finite.amax(0)]))
    shown = 0 if source.labels is None else len(source.labels.unique())
    learned = _learned(source) if conditional and shown > 1 and len(index) >= ENOUGH else (None, None)
    return DataFacts(
        rows=len(source),
        looked_at=len(index),
        kind=source.spec.kind,
        broken=len(broken),
        first_broken=source.name_of(int(broken[0])) if len(broken) else None,
        distinct=_distinct(flat),
        bits=source.spec.kind == "vector" and bool(((finite == 0) | (finite == 1)).all()),
        constant=float((finite == finite[:1]).all(0).float().mean()) if len(finite) > 1 else 0.0,
        low=float(unit.min()),
        high=float(unit.max()),
        classes=len(source.spec.classes or ()) if source.labels is not None else 0,
        shown=shown,
        accuracy=learned[0],
        above=learned[1],
    )


def _broken(source: Source) -> Tensor:
    """Numbers of all rows in memory that hold values that are not finite."""
    if not isinstance(source.data, Tensor) or not source.data.is_floating_point():
        return torch.empty(0, dtype=torch.int64)
    return torch.cat([~torch.isfinite(part).flatten(1).all(1) for part in source.data.split(4096)]).nonzero().flatten()


def _distinct(flat: Tensor) -> float:
    """Share of rows that are no copies, by their bytes."""
    return len({row.tobytes() for row in flat.contiguous().numpy()}) / max(len(flat), 1)


def _learned(source: Source) -> tuple[float, float]:
    """How well class means of one half of some rows fit the other half."""
    assert source.labels is not None
    index = drawn(source, LABELLED)
    mixed = np.random.default_rng(8).permutation(len(index))
    rows, labels = to_unit(source.rows(index[mixed])).nan_to_num(), source.labels[torch.from_numpy(index[mixed])]
    half, classes = len(index) // 2, int(source.labels.max()) + 1
    said = Means(rows[:half], labels[:half], classes).of(rows[half:])
    return above_chance(said, labels[half:], classes)


def detect(facts: DataFacts, bounds: Thresholds) -> list[Alarm]:
    """What is wrong with the data."""
    return [*_of_rows(facts, bounds), *_of_values(facts, bounds), *_of_labels(facts, bounds)]


def _of_rows(facts: DataFacts, bounds: Thresholds) -> Iterator[Alarm]:
    if facts.broken:
        words = (
            f"{facts.broken:,} of {facts.rows:,} rows hold NaN or infinite values, the first is {facts.first_broken}"
        )
        yield alarm("data-not-finite", 0, words)
    if facts.distinct < bounds.duplicates and not facts.bits:
        words = f"of {facts.looked_at:,} rows looked at, {1 - facts.distinct:.0%} are copies of others"
        yield alarm("data-duplicates", 0, words)


def _of_values(facts: DataFacts, bounds: Thresholds) -> Iterator[Alarm]:
    if facts.constant > bounds.constant:
        yield alarm("data-constant", 0, f"{facts.constant:.0%} of the numbers in a row are the same in all rows")
    bound = bounds.range_images if facts.kind == "image" else bounds.range_vectors
    if max(-facts.low, facts.high) > bound:
        words = f"numbers go from {facts.low:.3g} to {facts.high:.3g}, where networks expect +- "
        yield alarm("data-out-of-range", 0, words + ("1" if facts.kind == "image" else "a few"))


def _of_labels(facts: DataFacts, bounds: Thresholds) -> Iterator[Alarm]:
    if facts.shown == 1 < facts.classes:
        yield alarm("data-single-class", 0, f"{facts.classes} classes are declared and all rows are of one")
    if facts.above is not None and facts.above < bounds.unrelated:
        words = f"the nearest class mean finds the label of {facts.accuracy:.0%} of held rows"
        yield alarm("labels-unrelated", 0, f"{words}, {facts.above:.1f} standard errors above chance")
