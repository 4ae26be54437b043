"""Names of many rows in little memory: pages of a fork stay shared, and pickling copies two buffers."""

from collections.abc import Iterable, Iterator
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray


class RowNames(Protocol):
    """A name for every row of a source."""

    def __getitem__(self, row: int) -> str: ...


@final
class Names:
    """An immutable list of strings, held as one bytes buffer and its offsets: 8 bytes a name beside its letters."""

    __slots__ = ("_bytes", "_ends")

    def __init__(self, names: Iterable[str]) -> None:
        coded = [name.encode("utf-8", "surrogateescape") for name in names]
        self._ends = np.cumsum([0, *map(len, coded)], dtype=np.int64)
        self._bytes = b"".join(coded)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row %= len(self)
        return self._bytes[self._ends[row] : self._ends[row + 1]].decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return len(self._bytes) + self._ends.nbytes

    def take(self, rows: NDArray[np.int64]) -> "Names":
        """The names of the given rows, in their order."""
        return Names(self[row] for row in rows.tolist())


@final
class NumberedRows:
    """Names such as "row 12 of images.npz" for rows that have only a number."""

    __slots__ = ("_of", "_rows")

    def __init__(self, of: str, rows: NDArray[np.int64]) -> None:
        self._of, self._rows = of, rows

    def __getitem__(self, row: int) -> str:
        return f"row {self._rows[row]} of {self._of}"
