"""One batch, as the training loop sees it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """This rank's rows of one joint batch.

    Attributes:
        x: float32 [B, C, H, W] in [-1, 1], or [B, D], on the device.
        labels: int64 [B] on the device, or None.
        index: int64 [B] on the CPU: row numbers in the source.
        start: number of this rank's first row in the joint batch.
        joint: rows in the joint batch, over all ranks.
        pass_end: whether this is the last batch of a full pass (always False where rows are shuffled).
        beside: as many rows of a second data set, or None.
    """

    x: Tensor
    labels: Tensor | None
    index: Tensor
    start: int
    joint: int
    pass_end: bool
    beside: "Batch | None" = None

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, first: int, last: int) -> "Batch":
        """Rows first..last-1 of this batch, for micro-batches."""
        labels = None if self.labels is None else self.labels[first:last]
        index = self.index[first:last]
        beside = None if self.beside is None else self.beside.rows(first, last)
        x = self.x[first:last]
        return replace(self, x=x, labels=labels, index=index, start=self.start + first, beside=beside)


def to_unit(x: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    """uint8 [N, C, H, W] in 0..255 to float32 in [-1, 1]: x / 127.5 - 1; vectors float32 [N, D] pass through."""
    return x.to(torch.float32, memory_format=layout).div_(127.5).sub_(1) if x.dtype == torch.uint8 else x
