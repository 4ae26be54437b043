"""Both splits of a data set as one: `split="all"`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.data.names import RowNames
from simulacra.data.source import IN_MEMORY_BYTES, Source, digest, rows_bytes
from simulacra.errors import UserError


@dataclass(frozen=True, slots=True)
class JoinedNames:
    """The names of several sources, one after the other."""

    sources: Sequence[Source]

    def __getitem__(self, row: int) -> str:
        for source in self.sources:
            if row < len(source):
                return source.name_of(row)
            row -= len(source)
        raise IndexError(row)


@dataclass(frozen=True, slots=True)
class JoinedRows:
    """Reads the rows of several sources, numbered one after the other."""

    sources: Sequence[Source]

    def read(self, index: NDArray[np.int64]) -> tuple[Tensor, tuple[int, ...]]:
        """The rows, and the numbers of those that were replaced."""
        starts = np.cumsum([0, *map(len, self.sources)])
        of = np.searchsorted(starts, index, side="right") - 1
        rows: Tensor | None = None
        broken: list[int] = []
        for number, source in enumerate(self.sources):
            here = np.flatnonzero(of == number)
            found, replaced = source.read(index[here] - starts[number])
            rows = found.new_empty((len(index), *found.shape[1:])) if rows is None else rows
            rows[torch.from_numpy(here)] = found
            broken += [int(row + starts[number]) for row in replaced]
        assert rows is not None
        return rows, tuple(broken)


def join(sources: Sequence[Source]) -> Source:
    """The rows of `sources`, one after the other, as the split "all".

    Raises:
        UserError: they differ in shape or classes.
    """
    first = sources[0]
    for other in sources[1:]:
        if other.spec != first.spec:
            raise UserError(
                f"the splits of {first.word!r} differ ({_said(first)}, {_said(other)}): give size, channels or split"
            )
    count = sum(map(len, sources))
    tensors = [source.data for source in sources if isinstance(source.data, Tensor)]
    whole = len(tensors) == len(sources) and rows_bytes(first.spec, count) <= IN_MEMORY_BYTES
    labels = [source.labels for source in sources if source.labels is not None]
    names: RowNames = JoinedNames(sources)
    return Source(
        word=first.word,
        split="all",
        spec=first.spec,
        summary="; with ".join(source.summary for source in sources),
        fingerprint=digest("all", [source.fingerprint.encode() for source in sources]),
        labels=torch.cat(labels) if len(labels) == len(sources) else None,
        names=names,
        data=torch.cat(tensors) if whole else JoinedRows(sources),
        count=count,
        in_memory=whole and all(source.in_memory for source in sources),
    )


def _said(source: Source) -> str:
    return f"{source.split}: {'x'.join(map(str, source.spec.shape))}"
