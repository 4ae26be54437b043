"""Kernel distances between two sets of features, maximum mean discrepancies: KID, and a two-sample test."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from simulacra.config import Config
from simulacra.metrics.measure import KeepsBoth, Score
from simulacra.play import Table
from simulacra.randomness import generator

CPU = torch.device("cpu")
BLOCK = 2048
"""Rows of each side whose kernel values are in memory together."""
SLACK = 1e-12
"""Rounding of an MMD² of kernel values up to 1; a permutation this near the observed value counts as reaching it."""


# MMD² from sums of kernel values


class Sums(NamedTuple):
    """Kernel values of each row with the rows of a side, summed, itself left out; x has m rows, y has n; float64.

    Attributes:
        xx: Σ_{j≠i} k(x_i, x_j), `[m]`.
        yy: Σ_{j≠i} k(y_i, y_j), `[n]`.
        xy: Σ_j k(x_i, y_j), `[m]`.
        yx: Σ_j k(x_j, y_i), `[n]`.
    """

    xx: Tensor
    yy: Tensor
    xy: Tensor
    yx: Tensor

    def mmd2(self) -> float:
        """The unbiased estimate of MMD² (Gretton et al. 2012, Lemma 6); it may be below 0."""
        m, n = len(self.xx), len(self.yy)
        within = self.xx.sum() / (m * (m - 1)) + self.yy.sum() / (n * (n - 1))
        return (within - 2.0 * self.xy.sum() / (m * n)).item()

    def variances(self) -> tuple[float, float]:
        """What the draw of x and what the draw of y adds to the variance of `mmd2`, by the jackknife: each row left
        out once (Arvesen 1969). On average not too small (Efron & Stein 1981), and too large where the two
        distributions are one. Needs 3 rows on each side."""
        return _jackknife(self.xx, self.xy, len(self.yy)), _jackknife(self.yy, self.yx, len(self.xx))


def _jackknife(own: Tensor, other: Tensor, n: int) -> float:
    """(m − 1)/m · Σ (θ₋ᵢ − θ̄)², θ₋ᵢ the estimate without row i of m, up to what all of them share."""
    m = len(own)
    left_out = 2.0 / (m - 1) * (other / n - own / (m - 2))
    return (m - 1) ** 2 / m * left_out.var().item()


Kernel = Callable[[Tensor, Tensor], Tensor]
"""k(x_i, y_j) as `[M, N]` for rows `[M, D]` and `[N, D]`."""


def polynomial(x: Tensor, y: Tensor) -> Tensor:
    """(x·y/D + 1)³ (Bińkowski et al. 2018, §4) as `[M, N]` for rows `[M, D]` and `[N, D]`."""
    return (x @ y.T).div_(x.shape[1]).add_(1.0).pow_(3)


def kernel_sums(kernel: Kernel, x: Tensor, y: Tensor) -> Sums:
    """The sums for rows x `[m, D]` and y `[n, D]`, in blocks of 2048 × 2048 float64 numbers (34 MB) at a time."""
    (xx, _), (yy, _), (xy, yx) = _within(kernel, x), _within(kernel, y), _between(kernel, x, y)
    return Sums(xx, yy, xy, yx)


def _between(kernel: Kernel, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    rows, columns = torch.zeros(len(x), dtype=torch.float64), torch.zeros(len(y), dtype=torch.float64)
    for x_rows, x_part in zip(rows.split(BLOCK), x.split(BLOCK)):
        wide = x_part.double()
        for y_columns, y_part in zip(columns.split(BLOCK), y.split(BLOCK)):
            values = kernel(wide, y_part.double())
            x_rows += values.sum(1)
            y_columns += values.sum(0)
    return rows, columns


def _within(kernel: Kernel, x: Tensor) -> tuple[Tensor, Tensor]:
    """Twice the sums over the other rows of x `[m]`; every pair of blocks is computed once."""
    sums, parts = torch.zeros(len(x), dtype=torch.float64), x.split(BLOCK)
    views = sums.split(BLOCK)
    for i, part in enumerate(parts):
        wide = part.double()
        views[i].add_(kernel(wide, wide).fill_diagonal_(0.0).sum(1))
        for j in range(i + 1, len(parts)):
            values = kernel(wide, parts[j].double())
            views[i].add_(values.sum(1))
            views[j].add_(values.sum(0))
    return sums, sums


def polynomial_mmd2(x: Tensor, y: Tensor) -> float:
    """The unbiased MMD² of all rows x `[m, D]` and y `[n, D]` under `polynomial`, in float64, block by block."""
    return kernel_sums(polynomial, x, y).mmd2()


# KID


class KIDConfig(Config):
    """How the kernel distance is estimated."""

    subsets: int = Field(default=100, ge=1, description="random subsets of both sides, whose MMD² are averaged")
    subset_size: int = Field(
        default=1000, ge=3, description="rows of a subset; all of the smaller side where it has fewer"
    )
    rows: int = Field(default=50_000, ge=3, description="rows of each side that are kept, at most")
    seed: int = Field(default=0, ge=0, lt=2**62, description="key of the draws")


class KID(KeepsBoth):
    """Kernel Inception distance (Bińkowski et al. 2018): the mean over random subsets of the unbiased MMD² under
    `polynomial`. Its expectation is the same for any number of rows, and 0 where the distributions are one.

    All subsets come from the same rows, so they are not independent: their std/√subsets says how far more subsets
    would move the mean, not how far other rows would. The standard error is of both,

        s²/subsets + V_x·m/N_x + V_y·m/N_y    (squared),

    s² the variance of the subsets' values, V_x and V_y the mean over subsets of the jackknife's variances for subsets
    of m rows, brought to all N rows by the rate 1/N. Where the distributions are (nearly) one the variance falls faster
    and the error is too large. Fact `std` is the subsets' deviation, which papers print after ±. If the only subset is
    all rows, the value is the one exact evaluation; the error of a single subset is the jackknife's.

    Memory: 4·D bytes per row kept (0.4 GB for 50 000 rows of 2048 on each side), on every rank while it computes, when
    ranks share the subsets.
    """

    name = "kid"
    better: ClassVar = {"kid": "lower"}
    at_least = 3
    Config = KIDConfig
    config: KIDConfig

    def _compute(self, table: Table) -> dict[str, Score]:
        x, y = (side.cpu() for side in self._rows(table))
        m = min(self.config.subset_size, len(x), len(y))
        subsets = 1 if m == len(x) == len(y) else self.config.subsets
        values, x_variances, y_variances = self._evaluated(x, y, m, subsets, table).unbind(1)
        error = _kid_error(values, x_variances, y_variances, (m / len(x), m / len(y)))
        facts = {
            "kernel": "(x·y/D + 1)³",
            "subsets": subsets,
            "subset_size": m,
            "std": values.std(correction=0).item() if subsets > 1 else None,
            "rows": {"real": len(x), "fake": len(y)},
        }
        return {"kid": Score(value=values.mean().item(), standard_error=error, facts=facts)}

    def _evaluated(self, x: Tensor, y: Tensor, m: int, subsets: int, table: Table) -> Tensor:
        """MMD² and its two variances for every subset, `[subsets, 3]`; each rank computes its share of them."""
        found = torch.zeros(subsets, 3, dtype=torch.float64)
        for k in range(table.rank, subsets, table.size):
            draws = generator(CPU, self.config.seed, k)
            subset = (side[torch.randperm(len(side), generator=draws)[:m]] for side in (x, y))
            sums = kernel_sums(polynomial, *subset)
            found[k] = torch.tensor([sums.mmd2(), *sums.variances()], dtype=torch.float64)
        table.sum([found])
        return found


def _kid_error(values: Tensor, x_variances: Tensor, y_variances: Tensor, shares: tuple[float, float]) -> float:
    """The standard error of the mean of the subsets' `values`, which hold these shares of the rows; a subset that is
    alone is a sample for itself."""
    x, y = x_variances.mean().item(), y_variances.mean().item()
    if len(values) == 1:
        return (x + y) ** 0.5
    return (values.var().item() / len(values) + shares[0] * x + shares[1] * y) ** 0.5


# The two-sample test


class MMDTestConfig(Config):
    """How the two-sample test is made."""

    rows: int = Field(default=1000, ge=3, le=10_000, description="rows of each side that are tested, at most")
    permutations: int = Field(default=500, ge=1, description="random reassignments of the rows to the sides")
    seed: int = Field(default=0, ge=0, lt=2**62, description="key of the draws")


class MMDTest(KeepsBoth):
    """Two-sample test (Gretton et al. 2012) under the kernel exp(−‖x − y‖²/2σ²), σ the median distance between two of
    all rows (their §8).

    Scores:
        mmd: the unbiased MMD², which may be below 0; its standard error is the jackknife's, for a fixed σ.
        mmd_p: the share (1 + #{MMD² of a permutation ≥ observed}) / (1 + permutations). If both sides are draws of one
            distribution it is uniform, so at most 0.05 in one case of 20; small values say that they are not. Its
            standard error is that of having drawn so many permutations.

    Memory: 4·D bytes per row kept and 80·`rows`² bytes (80 MB for 1000 rows).
    """

    name = "mmd"
    better: ClassVar = {"mmd": "lower", "mmd_p": "higher"}
    at_least = 3
    Config = MMDTestConfig
    config: MMDTestConfig

    def _compute(self, table: Table) -> dict[str, Score]:
        x, y = (side.cpu().double() for side in self._rows(table))
        squares = squared_distances(torch.cat([x, y]))
        bandwidth = median_bandwidth(squares)
        kernel = squares.div_(-2.0 * bandwidth**2).exp_().fill_diagonal_(0.0)
        sums = _sums_of(kernel, len(x))
        p = permutation_p(kernel, len(x), self.config.permutations, self.config.seed)
        facts = {"bandwidth": bandwidth, "rows": {"real": len(x), "fake": len(y)}}
        chance = (p * (1.0 - p) / self.config.permutations) ** 0.5
        return {
            "mmd": Score(value=sums.mmd2(), standard_error=sum(sums.variances()) ** 0.5, facts=facts),
            "mmd_p": Score(value=p, standard_error=chance, facts={**facts, "permutations": self.config.permutations}),
        }


def squared_distances(rows: Tensor) -> Tensor:
    """‖x_i − x_j‖² `[N, N]` of rows `[N, D]`; the mean is taken off first, so that it costs no digits."""
    centred = rows - rows.mean(0)
    norms = centred.square().sum(1)
    squares = (centred @ centred.T).mul_(-2.0).add_(norms[:, None]).add_(norms)
    return squares.clamp_(min=0.0).fill_diagonal_(0.0)


def median_bandwidth(squares: Tensor) -> float:
    """σ: the median distance between two rows (Gretton et al. 2012, §8), from squared distances `[N, N]`; where half of
    the pairs are equal the root of the mean square, and 1 where all rows are."""
    pairs = squares[torch.ones_like(squares, dtype=torch.bool).triu_(1)]
    median, mean = pairs.median().item(), pairs.mean().item()
    return (median if median > SLACK * mean else mean) ** 0.5 or 1.0


def _sums_of(kernel: Tensor, m: int) -> Sums:
    """The sums from kernel values `[N, N]` of all rows with an empty diagonal, the first m of which are x."""
    x, y = kernel[:m].split([m, len(kernel) - m], dim=1), kernel[m:, m:]
    return Sums(x[0].sum(1), y.sum(1), x[1].sum(1), x[1].sum(0))


def permutation_p(kernel: Tensor, m: int, permutations: int, seed: int) -> float:
    """(1 + #{MMD² of a permutation ≥ observed}) / (1 + permutations), from kernel values `[N, N]` of all rows with an
    empty diagonal, the first m of which are x. A matrix product for 256 permutations at a time."""
    observed = _permuted_mmd2(kernel, torch.arange(len(kernel))[None, :m])
    reached = 0
    for first in range(0, permutations, 256):
        draws = generator(CPU, seed, first)
        count = min(256, permutations - first)
        chosen = torch.rand(count, len(kernel), generator=draws, dtype=torch.float64).argsort(1)[:, :m]
        reached += int((_permuted_mmd2(kernel, chosen) >= observed - SLACK).sum())
    return (1 + reached) / (1 + permutations)


def _permuted_mmd2(kernel: Tensor, chosen: Tensor) -> Tensor:
    """The unbiased MMD² `[B]` between the rows `chosen` int64 `[B, m]` and the others."""
    m, n = chosen.shape[1], len(kernel) - chosen.shape[1]
    member = torch.zeros(len(chosen), len(kernel), dtype=torch.float64).scatter_(1, chosen, 1.0)
    within = ((member @ kernel) * member).sum(1)
    across = member @ kernel.sum(1) - within
    rest = kernel.sum() - within - 2.0 * across
    return within / (m * (m - 1)) + rest / (n * (n - 1)) - 2.0 * across / (m * n)
