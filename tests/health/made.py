"""Data sets that tests make."""

import numpy as np
from torch import Tensor

from simulacra.data import Source, Spec
from simulacra.data.names import NumberedRows


def source(data: Tensor, labels: Tensor | None = None, classes: int = 2) -> Source:
    """A source of these rows, images `[N, C, H, W]` or vectors `[N, D]`."""
    kind = "image" if data.ndim == 4 else "vector"
    names = tuple("abcdefghij"[:classes]) if labels is not None else None
    return Source(
        word="made",
        split="train",
        spec=Spec(kind=kind, shape=tuple(data.shape[1:]), classes=names),
        summary="made",
        fingerprint="",
        labels=labels,
        names=NumberedRows("made", np.arange(len(data))),
        data=data,
        count=len(data),
        in_memory=True,
    )
