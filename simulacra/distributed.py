"""Several processes playing one game: plain torch.distributed, launched by torchrun.

Parameters are broadcast at the start; after a round's backward passes one flattened reduction joins its gradients
and terms. There is no wrapper around modules: any method may run, second derivatives included.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from simulacra.play import Table

PATIENCE = timedelta(hours=6)  # that ranks wait for one that judges or saves; torchrun ends them if it dies


class Ranks(Table):
    """The table of several processes: sums and means go over all of them."""

    def __init__(self, micro_batches: int = 1, precision: Callable[[], AbstractContextManager] = nullcontext) -> None:
        super().__init__(micro_batches, precision)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.wire = "cuda" if dist.get_backend() == "nccl" else None  # nccl carries nothing that is not on a device

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over ranks: one reduction per dtype."""
        for group in _by_dtype(tensors):
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in group]).to(self.wire)
            dist.all_reduce(flat)
            for tensor, part in zip(group, flat.split([t.numel() for t in group])):
                tensor.detach().copy_(part.view(tensor.shape))

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over ranks."""
        self.sum(tensors)
        for tensor in tensors:
            tensor.detach().div_(self.size)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows `[N, ...]` of all ranks, one rank after the other; a rank without any may send a bare `[0]`."""
        said: list[tuple[tuple[int, ...], torch.dtype]] = [((), rows.dtype)] * self.size
        dist.all_gather_object(said, (tuple(rows.shape), rows.dtype))
        longest = max(shape[0] for shape, _ in said)
        row, dtype = next(((shape[1:], dtype) for shape, dtype in said if shape[0]), (rows.shape[1:], rows.dtype))
        padded = torch.zeros(longest, *row, dtype=dtype, device=self.wire or rows.device)
        if len(rows):
            padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.cat([part[: shape[0]] for part, (shape, _) in zip(parts, said)]).to(rows.device)


def _by_dtype(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        yield [tensor for tensor in tensors if tensor.dtype == dtype]


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Inside, the ranks that torchrun launched can talk to each other; alone, nothing happens."""
    if not launched():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def broadcast(modules: Sequence[nn.Module]) -> None:
    """Every rank takes rank 0's parameters and buffers."""
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            value = tensor.detach().contiguous()
            dist.broadcast(value, 0)
            tensor.detach().copy_(value)


def average_buffers(table: Table, modules: Sequence[nn.Module]) -> None:
    """Running statistics become their mean over ranks, as they are saved; counters are equal already."""
    table.mean([b for module in modules for b in module.buffers() if b.is_floating_point()])


def barrier(table: Table) -> None:
    """Wait until every rank is here."""
    any_rank(table, False)


def agreed(table: Table, value: float) -> float:
    """The mean of `value` over ranks, which all ranks get: for what each measures for itself."""
    if table.size == 1:
        return value
    joint = torch.tensor([value], device="cuda" if dist.get_backend() == "nccl" else "cpu")
    table.mean([joint])
    return joint.item()


def any_rank(table: Table, flag: bool) -> bool:
    """Whether `flag` holds on any rank: how ranks agree on stopping."""
    if table.size == 1:
        return flag
    vote = torch.tensor([float(flag)], device="cuda" if dist.get_backend() == "nccl" else "cpu")
    table.sum([vote])
    return bool(vote.item())
