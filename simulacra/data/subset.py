"""Some rows of a data set: so many of all, or so many of each class, chosen by a seed."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.data.names import RowNames
from simulacra.data.randoms import order
from simulacra.data.source import Reader, Source, digest
from simulacra.errors import UserError


@dataclass(frozen=True, slots=True)
class ChosenNames:
    """The names of chosen rows."""

    names: RowNames
    rows: NDArray[np.int64]

    def __getitem__(self, row: int) -> str:
        return self.names[int(self.rows[row])]


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Reads chosen rows by their number among the chosen."""

    reader: Reader
    rows: NDArray[np.int64]

    def read(self, index: NDArray[np.int64]) -> tuple[Tensor, tuple[int, ...]]:
        """The rows, and the numbers of those that were replaced."""
        found, replaced = self.reader.read(self.rows[index])
        places = {int(row): int(place) for place, row in zip(index, self.rows[index])}
        return found, tuple(places[row] for row in replaced)


def some(source: Source, count: int, seed: int) -> Source:
    """`count` rows, in their own order. Raises UserError where there are not as many."""
    if not 0 < count <= len(source):
        raise UserError(f"{source.word!r} has {len(source):,} rows, {count:,} were asked for: ask for fewer")
    return _chosen(source, np.sort(order(seed, 0, 0, len(source))[:count]), f"{count:,} rows of them")


def some_of_each(source: Source, count: int, seed: int) -> Source:
    """`count` rows of each class, in their own order. Raises UserError where a class has fewer, or there are none."""
    if source.labels is None or source.spec.classes is None:
        raise UserError(f"{source.word!r} has no labels to choose rows of each class by")
    shuffled = order(seed, 0, 0, len(source))
    labels = source.labels.numpy()[shuffled]
    parts = [shuffled[labels == label][:count] for label in range(len(source.spec.classes))]
    for name, part in zip(source.spec.classes, parts):
        if len(part) < count:
            raise UserError(f"class {name!r} of {source.word!r} has {len(part)} rows, {count} were asked for")
    return _chosen(source, np.sort(np.concatenate(parts)), f"{count:,} of each class of them")


def unlabelled(source: Source) -> Source:
    """The same rows without their labels; the classes' names stay."""
    return replace(source, labels=None)


def _chosen(source: Source, rows: NDArray[np.int64], said: str) -> Source:
    place = torch.from_numpy(rows)
    data = source.data.index_select(0, place) if isinstance(source.data, Tensor) else ChosenRows(source.data, rows)
    return replace(
        source,
        summary=f"{source.summary}; {said}",
        fingerprint=digest("chosen", [source.fingerprint.encode(), rows]),
        labels=None if source.labels is None else source.labels.index_select(0, place),
        names=ChosenNames(source.names, rows),
        data=data,
        count=len(rows),
    )
