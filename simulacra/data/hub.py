"""`hf:owner/name`: image data sets of the Hugging Face hub (extra `hub`)."""

from collections.abc import Mapping
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simulacra.data.names import NumberedRows
from simulacra.data.pictures import Found, build
from simulacra.data.request import Request
from simulacra.data.source import Source
from simulacra.errors import EmptySplit, UserError


class Table(Protocol):
    """The part of `datasets.Dataset` that is used: rows by number, columns by name, and the columns' types."""

    features: Mapping[str, Any]

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any) -> Any: ...


def open_hub(request: Request) -> Source:
    """Open `hf:owner/name`: the first column of images, and the first column of class labels if there is one.

    Raises:
        UserError: the package `datasets` is missing, or the data set cannot be had or holds no images.
    """
    try:
        from datasets import load_dataset  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            f"{request.word!r} needs the package datasets: install the extra 'hub' (pip install 'datasets>=3')"
        ) from error
    try:
        table = load_dataset(request.rest, split=request.split)
    except Exception as error:  # datasets, huggingface_hub and the network raise many kinds
        raise UserError(
            f"cannot load {request.word!r} ({' '.join(str(error).split())[:200]}): check name and network"
        ) from error
    return table_source(request, table)


def table_source(request: Request, table: Table) -> Source:
    """Turn a table with a column of images, and perhaps one of class labels, into a source.

    Raises:
        UserError: no column of images, no rows, or labels that are missing (None or -1).
    """
    if not len(table):
        raise EmptySplit(f"the {request.split} split of {request.word!r} is empty")
    image = _column(table, "Image")
    if image is None:
        raise UserError(f"{request.word!r} has no column of images; its columns are: {', '.join(table.features)}")
    label = _column(table, "ClassLabel")
    others = [name for name in table.features if name not in (image, label)]
    notes = (f"columns {', '.join(others)} left out",) if others else ()
    rows = np.arange(len(table))
    pictures = TablePictures(request.word, table, image, rows)
    classes = tuple(table.features[label].names) if label else None
    labels = _labels(request.word, table, label, classes) if label and classes else None
    return build(request, Found(f"{request.word!r}", pictures, rows, labels, classes, notes))


def _column(table: Table, kind: str) -> str | None:
    """The first column whose type is called `kind` (a name, so that `datasets` need not be installed)."""
    return next((name for name, feature in table.features.items() if type(feature).__name__ == kind), None)


def _labels(word: str, table: Table, column: str, classes: tuple[str, ...]) -> NDArray[np.int64]:
    labels = np.array([-1 if label is None else label for label in table[column]], np.int64)
    bad = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(bad):
        raise UserError(
            f"{word!r} lacks a label for {len(bad):,} rows (the first is row {bad[0]}): choose a labelled split"
        )
    return labels


@final
class TablePictures:
    """The images of a table by number. The table decodes them; one of `datasets` is memory-mapped and forks cheaply."""

    def __init__(self, word: str, table: Table, column: str, rows: NDArray[np.int64]) -> None:
        self._word, self._table, self._column, self._rows = word, table, column, rows
        self.names = NumberedRows(word, rows)

    def __len__(self) -> int:
        return len(self._rows)

    def open(self, row: int) -> Image.Image:
        """The picture; raises ValueError where the table holds none."""
        image = self._table[int(self._rows[row])][self._column]
        if not isinstance(image, Image.Image):
            raise ValueError("no image")
        return image.copy()  # callers close what they open, and the table may hand out the same object again

    def blob(self, row: int) -> bytes:
        """Mode, size and pixels: the encoded bytes are out of reach."""
        with self.open(row) as im:
            return repr((im.mode, im.size)).encode() + im.tobytes()

    def sizes(self) -> NDArray[np.int64]:
        """Zeros: a table does not tell."""
        return np.zeros(len(self._rows), np.int64)

    def take(self, rows: NDArray[np.int64]) -> "TablePictures":
        """The pictures of the given rows."""
        return TablePictures(self._word, self._table, self._column, self._rows[rows])
