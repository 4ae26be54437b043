"""Which rows go into which batch, and to which rank: pure numbers, no data."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simulacra.data.randoms import order


@dataclass(frozen=True, slots=True, eq=False)
class Deal:
    """One rank's share of a joint batch: rows int64 [B] and their epochs int64 [B], see `Batch` for the others."""

    index: NDArray[np.int64]
    epochs: NDArray[np.int64]
    start: int
    joint: int
    pass_end: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Dealer:
    """Deals an endless stream of positions: position p is element p % n of epoch p // n, batch b holds the positions
    [b * batch, (b + 1) * batch), and rank r gets the r-th part of it as `numpy.array_split` cuts.

    With `full_passes` every epoch runs through 0..n-1 in order and its last batch may be smaller.
    """

    n: int
    batch: int
    seed: int
    stage: int
    rank: int
    ranks: int
    full_passes: bool

    @property
    def batches_per_pass(self) -> int:
        """Batches it takes to see every row once."""
        return -(-self.n // self.batch)

    def deal(self, b: int) -> Deal:
        """This rank's share of joint batch b."""
        first, last = self._positions(b)
        start, stop = self._share(last - first)
        positions = np.arange(first + start, first + stop, dtype=np.int64)
        epochs, places = np.divmod(positions, self.n)
        end = self.full_passes and last % self.n == 0
        return Deal(self._rows(epochs, places), epochs, start, last - first, end)

    def _positions(self, b: int) -> tuple[int, int]:
        if not self.full_passes:
            return b * self.batch, (b + 1) * self.batch
        done, k = divmod(b, self.batches_per_pass)
        return done * self.n + k * self.batch, done * self.n + min((k + 1) * self.batch, self.n)

    def _share(self, joint: int) -> tuple[int, int]:
        each, more = divmod(joint, self.ranks)
        start = self.rank * each + min(self.rank, more)
        return start, start + each + (self.rank < more)

    def _rows(self, epochs: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.full_passes or not len(places):
            return places
        rows = np.empty_like(places)
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            here = slice(*np.searchsorted(epochs, (epoch, epoch + 1)))
            rows[here] = _order(self.seed, self.stage, epoch, self.n)[places[here]]
        return rows


_order = lru_cache(maxsize=4)(order)  # the epochs that the current batch and the workers' next ones lie in
