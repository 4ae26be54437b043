"""Features of a data set's rows, computed once: in shards that are shared out among ranks and kept on disk."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.data.source import Source, digest, rows_bytes
from simulacra.disk import cache_folder, replace
from simulacra.features.extractor import Extractor, Said
from simulacra.features.files import pack, unpack
from simulacra.play import Table

log = logging.getLogger("simulacra.features")
FORMAT = 1
SHARD = 5_000  # rows of a shard
READ, BYTES = 500, 1 << 28  # rows that are read at once, and their bytes, at most


class SeenRows(NamedTuple):
    """What an extractor says of some rows.

    Attributes:
        index: int64 `[B]`: which of the rows that were asked for, from 0.
        said: their features float32 `[B, D]` and logits float32 `[B, K]` or None, on the CPU.
        labels: int64 `[B]`, or None.
    """

    index: Tensor
    said: Said
    labels: Tensor | None


def default_folder() -> Path:
    """Where features are kept: `$SIMULACRA_CACHE/features`, or `~/.cache/simulacra/features`."""
    return cache_folder("features")


def _silent(done: int) -> None:
    pass


def seen_rows(
    source: Source,
    rows: NDArray[np.int64],
    extractor: Extractor,
    *,
    table: Table,
    folder: Path | None,
    progress: Callable[[int], None] = _silent,
) -> Iterator[SeenRows]:
    """What `extractor` says of `rows` of `source`, a shard of 5 000 rows at a time: this rank's shards.

    A shard that is in `folder` is read from there, any other is written there as soon as it is whole: 41 MB with 2 048
    features (and 20 MB for 1 008 logits), nothing of which is ever removed. What is kept is a function of data, rows,
    extractor and resizing; the device, which changes last bits, is not asked for. A cache that cannot be written to
    is warned of, once, and not needed.

    Args:
        source: the data.
        rows: numbers of its rows, in the order that numbers them anew.
        extractor: what looks at them.
        table: the ranks that share the work: shard s is that of rank s modulo their number.
        folder: where shards are kept; None keeps none.
        progress: told of every further part of this rank's rows that is done, by its number of rows.

    Raises:
        UserError: a streamed image cannot be decoded.
    """
    rows = rows.astype(np.int64)
    shelf = _Shelf(folder and folder / _key(source, rows, extractor))
    for shard in range(table.rank, -(-len(rows) // SHARD), table.size):
        first = shard * SHARD
        part = rows[first : first + SHARD]
        said = shelf.get(shard, len(part))
        if said is None:
            said = _said(source, part, extractor, progress)
            shelf.put(shard, said)
        else:
            progress(len(part))
        labels = None if source.labels is None else source.labels[torch.from_numpy(part)]
        yield SeenRows(torch.arange(first, first + len(part)), said, labels)


def _said(source: Source, rows: NDArray[np.int64], extractor: Extractor, progress: Callable[[int], None]) -> Said:
    parts = []
    at_once = max(1, min(READ, BYTES // rows_bytes(source.spec, 1)))
    for first in range(0, len(rows), at_once):
        part = rows[first : first + at_once]
        said = extractor(source.rows(part))
        parts.append(Said(said.features.cpu(), None if said.logits is None else said.logits.cpu()))
        progress(len(part))
    features, logits = zip(*parts)
    return Said(torch.cat(features), None if logits[0] is None else torch.cat(logits))


def _key(source: Source, rows: NDArray[np.int64], extractor: Extractor) -> str:
    """A name for what the features are a function of."""
    head = {"format": FORMAT, "data": source.fingerprint, "spec": source.spec.as_dict()}
    return digest({**head, "extractor": extractor.digest, "resizer": extractor.resizer}, [rows.astype("<i8")])


class _Shelf:
    """The folder of the shards of one key; None holds nothing and takes nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, shard: int, count: int) -> Said | None:
        """Shard number `shard` of `count` rows; None where it is not there, or damaged, which is warned of."""
        if self._folder is None:
            return None
        path = self._path(shard)
        try:
            return _unpacked(path.read_bytes(), count)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("cached features '%s' are damaged (%s) and computed again", path, error)
            return None

    def put(self, shard: int, said: Said) -> None:
        """Keep a shard, if that can be done."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace(self._path(shard), _packed(said))
        except OSError as error:
            log.warning("features cannot be cached in '%s': %s", self._folder, error.strerror or error)
            self._folder = None

    def _path(self, shard: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{shard:05d}.safetensors"


def _packed(said: Said) -> bytes:
    tensors = {name: values for name, values in said._asdict().items() if values is not None}
    return pack(tensors, {"format": FORMAT, "sha256": _hash(said)})


def _unpacked(content: bytes, count: int) -> Said:
    """Raises ValueError where these are not `count` rows as they were written."""
    tensors, facts = unpack(content)
    if "features" not in tensors or len(tensors["features"]) != count:
        raise ValueError(f"they are not of {count} rows")
    said = Said(tensors["features"], tensors.get("logits"))
    if not facts or facts.get("sha256") != _hash(said):
        raise ValueError("their hash is another one")
    return said


def _hash(said: Said) -> str:
    return digest(FORMAT, [b"" if values is None else values.numpy() for values in said])
