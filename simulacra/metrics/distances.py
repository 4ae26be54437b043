"""Euclidean distances between many rows: by matrix product, tile by tile, and exact where it matters.

A product gives ‖a − b‖² = ‖a‖² + ‖b‖² − 2 a·b, which cancels for rows that lie close together. So rows are taken
relative to a common centre, features of few dimensions are multiplied in float64, and whatever a result depends on (the
nearest rows, pairs at the edge of a ball) is computed again from the difference of the two rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

TILE = 2048  # rows of either side of a tile: its 16 MiB of float32 fit a processor's cache
NARROW = 64  # features up to this wide are multiplied in float64, which costs no more than the rest of a tile's work
SPARE = 2  # rows beyond the k nearest by the product that are ranked by their exact distance
DOUBTS = 8 * TILE  # pairs of a tile that are decided exactly
CHUNK = 1 << 19  # numbers of rows that are held at a time where distances are exact: 4 MiB


class Nearest(NamedTuple):
    """The k nearest rows of each query, nearest first: distances float32 `[N, k]`, their numbers int64 `[N, k]`."""

    distances: Tensor
    indices: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """Squared distances between some rows of one side and some rows of another.

    Attributes:
        rows: which rows of the first side.
        columns: which rows of the second side.
        left: the rows themselves, `[A, D]`.
        right: the columns themselves, `[B, D]`.
        squared: `[A, B]`, at least 0.
        slack: what rounding may have added to or taken from an entry.
    """

    rows: slice
    columns: slice
    left: Tensor
    right: Tensor
    squared: Tensor
    slack: float

    def within(self, radii: Tensor) -> Tensor:
        """Which pairs, bool `[A, B]`, are no further apart than `radii` `[A, 1]` or `[1, B]` (float32).

        Pairs at the edge, where rounding decides, are compared by their exact distance; where more than `DOUBTS` of a
        tile are (masses of equal rows), what lies within rounding of a radius is within it.
        """
        limits = radii.to(self.squared.dtype).square()
        edge = self.slack + 2 * torch.finfo(torch.float32).eps * limits  # radii are rounded too
        mask = self.squared <= limits + edge
        doubtful = mask ^ (self.squared <= limits - edge)
        if doubtful.any() and doubtful.view(torch.uint8).sum(dtype=torch.int64) <= DOUBTS:
            i, j = doubtful.nonzero(as_tuple=True)
            mask[i, j] = between(self.left, self.right, i, j) <= radii.expand_as(mask)[i, j]
        return mask


class _Block(NamedTuple):
    """Consecutive rows of a side: which, as they are, relative to the centre, and those rows' squared norms."""

    span: slice
    original: Tensor
    rows: Tensor
    squares: Tensor


def tiles(a: Tensor, b: Tensor, *, half: bool = False) -> Iterator[Tile]:
    """All pairs of rows of `a` `[N, D]` and `b` `[M, D]`, in tiles of at most `TILE` × `TILE`.

    With `half`, for two times the same rows: only the tiles on and above the diagonal. Beside the rows, memory holds
    two blocks `[TILE, D]` and one tile: 48 MiB at D = 2048.
    """
    size = TILE
    centre = (a.mean(0) + b.mean(0)) / 2
    for i in range(0, len(a), size):
        left = _block(a, slice(i, min(i + size, len(a))), centre)
        for j in range(i if half else 0, len(b), size):
            yield _tile(left, _block(b, slice(j, min(j + size, len(b))), centre))


def _block(side: Tensor, span: slice, centre: Tensor) -> _Block:
    wide = torch.float64 if side.shape[1] <= NARROW else side.dtype
    rows = side[span].to(wide) - centre.to(wide)
    return _Block(span, side[span], rows, rows.square().sum(1))


def _tile(left: _Block, right: _Block) -> Tile:
    squared = torch.addmm(right.squares[None], left.rows, right.rows.T, alpha=-2)
    squared = squared.add_(left.squares[:, None]).clamp_min_(0)
    return Tile(
        rows=left.span,
        columns=right.span,
        left=left.original,
        right=right.original,
        squared=squared,
        slack=_slack(left, right),
    )


def _slack(left: _Block, right: _Block) -> float:
    """Rounding errors of a sum of D terms grow with √D (Higham & Mary 2019, theorem 2.4; here with λ = 2)."""
    share = torch.finfo(left.rows.dtype).eps * (4 + 2 * left.rows.shape[1] ** 0.5)
    return share * (left.squares.max() + right.squares.max()).item()


def between(a: Tensor, b: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """The distances ‖a_i − b_j‖, float32 `[M]`, between rows `i` of `a` and rows `j` of `b` (int64 `[M]`).

    Summed in float64, so correctly rounded, and 0 for equal rows; ‖a − b‖ and ‖b − a‖ are one number.
    """
    squares = torch.empty(len(i), dtype=torch.float64, device=a.device)
    for part, m, n in zip(*(values.split(max(CHUNK // a.shape[1], 1)) for values in (squares, i, j))):
        torch.sum(a[m].double().sub_(b[n]).square_(), dim=1, out=part)
    return squares.sqrt_().float()


def nearest(queries: Tensor, reference: Tensor, k: int, *, skip_self: bool = False) -> Nearest:
    """The k nearest rows of `reference` `[M, D]` to each of `queries` `[N, D]`.

    Distances are exact to float32. Which rows are chosen is decided by the product, but for `SPARE` rows: it may err
    among rows whose squared distances differ by less than its rounding.

    Args:
        queries: the rows asked about.
        reference: the rows looked among.
        k: how many.
        skip_self: the queries are the reference, and a row is no neighbour of itself (an equal one is). Every tile is
            computed once for both of its directions.

    Raises:
        ValueError: there are fewer than k rows to choose from, or `skip_self` for two different sets.
    """
    if skip_self and queries is not reference:
        raise ValueError("a row can be skipped only where the queries are the reference")
    others = len(reference) - skip_self
    if not 1 <= k <= others:
        raise ValueError(f"{k} nearest of {others} rows")
    found = _Candidates(queries, min(k + SPARE, others))
    for tile in tiles(queries, reference, half=skip_self):
        _offer(found, tile, skip_self)
    return found.ranked(queries, reference, k)


class _Candidates:
    """The nearest rows by the product so far: squared distances and numbers, `[N, count]`."""

    def __init__(self, queries: Tensor, count: int) -> None:
        self.count = count
        shape, device = (len(queries), count), queries.device
        self.squared = torch.full(shape, torch.inf, dtype=torch.float64, device=device)
        self.numbers = torch.zeros(shape, dtype=torch.int64, device=device)

    def offer(self, rows: slice, first: int, squared: Tensor) -> None:
        """Consider for the queries `rows` the reference rows from number `first` on, at distances `[A, B]`."""
        near = squared.topk(min(self.count, squared.shape[1]), largest=False, sorted=False)
        values = torch.cat([self.squared[rows], near.values.double()], dim=1)
        numbers = torch.cat([self.numbers[rows], near.indices + first], dim=1)
        self.squared[rows], order = values.topk(self.count, largest=False)
        self.numbers[rows] = numbers.gather(1, order)

    def ranked(self, queries: Tensor, reference: Tensor, k: int) -> Nearest:
        """The k nearest of the candidates by their exact distance; of equally near ones, lower numbers first."""
        numbers = self.numbers.sort(1).values
        i = torch.arange(len(queries), device=queries.device).repeat_interleave(self.count)
        exact = between(queries, reference, i, numbers.flatten()).view_as(numbers)
        distances, order = exact.sort(dim=1, stable=True)
        return Nearest(distances[:, :k], numbers.gather(1, order)[:, :k])


def _offer(found: _Candidates, tile: Tile, skip_self: bool) -> None:
    diagonal = skip_self and tile.rows == tile.columns
    squared = tile.squared.fill_diagonal_(torch.inf) if diagonal else tile.squared
    found.offer(tile.rows, tile.columns.start, squared)
    if skip_self and not diagonal:
        found.offer(tile.columns, tile.rows.start, squared.T.contiguous())
