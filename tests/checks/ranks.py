"""Ranks played by threads of this process, for what only sums and gathers."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import torch
from torch import Tensor

from simulacra.play import Table

T = TypeVar("T")


class Thread(Table):
    """The table of a thread among others."""

    def __init__(self, rank: int, board: list[Any], barrier: Barrier) -> None:
        super().__init__()
        self.rank, self.size, self._board, self._barrier = rank, len(board), board, barrier

    def sum(self, tensors: Sequence[Tensor]) -> None:
        everyones = self._shared([tensor.clone() for tensor in tensors])
        for tensor, theirs in zip(tensors, zip(*everyones)):
            tensor.copy_(sum(theirs))

    def gather(self, rows: Tensor) -> Tensor:
        return torch.cat([part for part in self._shared(rows) if len(part)] or [rows])

    def _shared(self, own: Any) -> list[Any]:
        self._board[self.rank] = own
        self._barrier.wait()
        found = list(self._board)
        self._barrier.wait()
        return found


def on_ranks(size: int, task: Callable[[Table], T]) -> list[T]:
    """What `task(table)` returns on each of `size` ranks; raises what any of them raises."""
    board, barrier = [None] * size, Barrier(size, timeout=60)

    def run(rank: int) -> T:
        try:
            return task(Thread(rank, board, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))
