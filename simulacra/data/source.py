"""A data set, opened: rows by number, wherever they lie."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.data.names import RowNames
from simulacra.data.spec import Spec

IN_MEMORY_BYTES = 1 << 30  # a source whose rows take no more than this is held as one tensor


class Reader(Protocol):
    """Reads rows on demand. It must pickle and fork cheaply: every data worker gets a copy."""

    def read(self, index: NDArray[np.int64]) -> tuple[Tensor, tuple[int, ...]]:
        """The rows, and the numbers of those that could not be read and were replaced."""
        ...


@final
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """One split of a data set.

    Attributes:
        word: the word it was opened with, such as "mnist" or "folder:PATH".
        split: "train", "test" or "all".
        spec: what a row looks like.
        summary: one line that says what was found and what was done to it.
        fingerprint: hex sha256 of the content; for rows decoded on demand, of names, sizes, labels, resizing and the
            bytes of up to 256 evenly spaced files.
        labels: int64 [N], or None.
        names: a name for every row.
        data: all rows as one tensor, uint8 [N, C, H, W] or float32 [N, D], or a reader of rows.
        count: number of rows, which `len` tells too.
        in_memory: whether rows are at hand: `data` is a tensor small enough to be moved to the device as a whole, or a
            reader that makes rows faster than worker processes could pass them on.
    """

    word: str
    split: str
    spec: Spec
    summary: str
    fingerprint: str
    labels: Tensor | None
    names: RowNames
    data: Tensor | Reader
    count: int
    in_memory: bool

    def __len__(self) -> int:
        return self.count

    def rows(self, index: NDArray[np.int64]) -> Tensor:
        """Rows by number: uint8 [B, C, H, W] or float32 [B, D], the same bits whether streamed or in memory.

        Raises:
            UserError: a streamed image cannot be decoded; the message names its file.
        """
        return self.read(index)[0]

    def read(self, index: NDArray[np.int64]) -> tuple[Tensor, tuple[int, ...]]:
        """Like `rows`, with the numbers of the unreadable rows that another one replaces (only with `skip_broken`)."""
        if isinstance(self.data, Tensor):
            return self.data.index_select(0, torch.from_numpy(np.ascontiguousarray(index))), ()
        return self.data.read(index)

    def name_of(self, row: int) -> str:
        """The file name of a row, or "row 12 of images.npz"."""
        return self.names[row]

    @property
    def nbytes(self) -> int:
        """Bytes that all rows take once decoded."""
        return rows_bytes(self.spec, len(self))


def rows_bytes(spec: Spec, count: int) -> int:
    """Bytes of `count` decoded rows."""
    return count * spec.numel * (1 if spec.kind == "image" else 4)


def digest(head: Any, parts: Iterable[bytes | NDArray[Any]]) -> str:
    """Hex sha256 over a JSON value and buffers, each preceded by its number of bytes."""
    sha = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for part in parts:
        flat = np.frombuffer(part, np.uint8) if isinstance(part, bytes) else np.ascontiguousarray(part).reshape(-1)
        sha.update(flat.nbytes.to_bytes(8, "little"))
        sha.update(flat.data)
    return sha.hexdigest()


def tensor_digest(spec: Spec, data: Tensor, labels: Tensor | None) -> str:
    """The fingerprint of rows held as a tensor."""
    return digest(spec.as_dict(), [data.numpy(), b"" if labels is None else labels.numpy()])


def describe(source: Source) -> dict[str, Any]:
    """What `simulacra data info` shows, in JSON's types; `classes` maps class names to numbers of rows, or is None."""
    return {
        "word": source.word,
        "split": source.split,
        "kind": source.spec.kind,
        "images": len(source),
        "shape": list(source.spec.shape),
        "channels": source.spec.channels if source.spec.kind == "image" else None,
        "classes": _class_counts(source),
        "summary": source.summary,
        "fingerprint": source.fingerprint,
        "in_memory": source.in_memory,
        "bytes": source.nbytes,
    }


def _class_counts(source: Source) -> dict[str, int] | None:
    if source.labels is None or source.spec.classes is None:
        return None
    counts = torch.bincount(source.labels, minlength=len(source.spec.classes)).tolist()
    return dict(zip(source.spec.classes, counts))
