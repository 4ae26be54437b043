"""Maximum mean discrepancy between two sets of rows, and its gradient (Gretton et al. 2012; Li, Swersky & Zemel 2015;
Dziugaite, Roy & Ghahramani 2015).

Kernel values are found tile by tile, each with its share of the gradient in the same sweep, and forgotten: what is kept
for the backward pass is one gradient `[N, D]` of each set that asks for it. Time is that of all pairs, memory that of
the rows and of a few tiles.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from simulacra.precision import full_precision, widen

TILE = 1024
"""Rows of each side whose kernel values are in memory together."""
LEAST = 1e-12
"""Below this MMD² counts as zero, where its root has no gradient."""


def mmd2(x: Tensor, y: Tensor, bandwidths: Sequence[float], *, unbiased: bool = False, tile: int = TILE) -> Tensor:
    """MMD² between rows x `[N, D]` and y `[M, D]` under k(x, y) = Σ_σ exp(−‖x − y‖²/2σ), as a scalar in float32 or
    better; differentiable once.

    By default the mean of k over all pairs, each row with itself among them (Li et al. 2015, eq. 3): at least 0, by
    rounding perhaps a little below. `unbiased` leaves those pairs out (Gretton et al. 2012, Lemma 6): 0 on average
    where both sets are draws of one law, so sometimes below; it needs two rows on each side.

    Args:
        bandwidths: the σ of the mixture, in the units of a squared distance.
        tile: rows of each side whose kernel values are in memory together: about 16·`tile`² bytes in float32.

    Raises:
        ValueError: rows of different length, no bandwidth or one that is not positive, or too few rows.
    """
    _check(x, y, bandwidths, 1 + unbiased)
    with full_precision(x.device):
        x, y = widen(x), widen(y)
        within = [_kernel_mean(rows, rows, bandwidths, tile) for rows in (x, y)]
        if unbiased:
            k0 = float(len(bandwidths))  # k(x, x)
            within = [(mean * len(rows) - k0) / (len(rows) - 1) for mean, rows in zip(within, (x, y))]
        return within[0] + within[1] - 2.0 * _kernel_mean(x, y, bandwidths, tile)


def root_mmd(x: Tensor, y: Tensor, bandwidths: Sequence[float], *, tile: int = TILE) -> Tensor:
    """√MMD² of `mmd2` (Li et al. 2015, §4.3): its gradient is that of MMD² over twice its size, so that it does not
    fade as the sets become alike; 0 where MMD² is below 1e-12. Raises ValueError as `mmd2` does."""
    return mmd2(x, y, bandwidths, tile=tile).clamp_min(LEAST).sqrt()


def mean_squared_distance(x: Tensor) -> Tensor:
    """E‖x − x′‖² between two different rows of x `[N, D]`, a scalar in float32 or better: twice the sum of their
    variances. Raises ValueError for fewer than two rows."""
    if len(x) < 2:
        raise ValueError(f"{len(x)} rows have no distances: two are needed")
    return 2.0 * widen(x).var(0).sum()


def _check(x: Tensor, y: Tensor, bandwidths: Sequence[float], least: int) -> None:
    if x.dim() != 2 or y.dim() != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"rows are [N, D] and [M, D], not {list(x.shape)} and {list(y.shape)}")
    if not bandwidths or min(bandwidths) <= 0:
        raise ValueError(f"bandwidths are positive numbers, at least one, not {list(bandwidths)}")
    if min(len(x), len(y)) < least:
        raise ValueError(f"{len(x)} and {len(y)} rows: each side needs {least}")


def _kernel_mean(x: Tensor, y: Tensor, bandwidths: Sequence[float], tile: int) -> Tensor:
    """The mean of k(x_i, y_j) over all pairs, a scalar."""
    if x is y:
        return _Within.apply(x, tuple(bandwidths), tile)
    return _Between.apply(x, y, tuple(bandwidths), tile)


class _Between(torch.autograd.Function):
    """The mean of k over all pairs of a row of x and a row of y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, bandwidths: tuple[float, ...], tile: int) -> Tensor:
        gradients = [torch.zeros_like(rows) if ctx.needs_input_grad[k] else None for k, rows in enumerate((x, y))]
        total = x.new_zeros(())
        for rows, columns in _tiles(len(x), len(y), tile):
            total += _add(x, y, rows, columns, bandwidths, gradients, 1.0)
        ctx.save_for_backward(*(g if g is None else g.div_(len(x) * len(y)) for g in gradients))
        return total / (len(x) * len(y))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        _refuse_second_derivatives()
        return *(g if g is None else gradient * g for g in ctx.saved_tensors), None, None


class _Within(torch.autograd.Function):
    """The mean of k over all pairs of rows of x, each row with itself among them. As k is symmetric, a tile off the
    diagonal stands for two."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bandwidths: tuple[float, ...], tile: int) -> Tensor:
        gradient = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        total = x.new_zeros(())
        for rows, columns in _tiles(len(x), len(x), tile):
            if rows.start <= columns.start:
                times = 1.0 if rows == columns else 2.0
                total += _add(x, x, rows, columns, bandwidths, [gradient, gradient], times)
        ctx.save_for_backward(gradient if gradient is None else gradient.div_(len(x) ** 2))
        return total / len(x) ** 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        _refuse_second_derivatives()
        (own,) = ctx.saved_tensors
        return own if own is None else gradient * own, None, None


def _refuse_second_derivatives() -> None:
    """Without this a gradient asked for with `create_graph` would be taken for a constant."""
    if torch.is_grad_enabled():
        raise RuntimeError("MMD tile by tile is differentiable once: its gradient has none")


def _tiles(n: int, m: int, tile: int) -> Iterator[tuple[slice, slice]]:
    for a in range(0, n, tile):
        for b in range(0, m, tile):
            yield slice(a, min(a + tile, n)), slice(b, min(b + tile, m))


def _add(
    x: Tensor,
    y: Tensor,
    rows: slice,
    columns: slice,
    bandwidths: Sequence[float],
    gradients: Sequence[Tensor | None],
    times: float,
) -> Tensor:
    """`times` the sum of k over one tile; its gradients by x and y are added to `gradients`, where they are asked for.

    ∂k(x, y)/∂x = Σ_σ exp(−‖x − y‖²/2σ) (y − x)/σ (Li et al. 2015, eq. 6): with the slopes w_ij = Σ_σ k_σ/σ that is
    Σ_j w_ij y_j − x_i Σ_j w_ij, a product of matrices and no `[N, M, D]`.
    """
    a, b = x[rows], y[columns]
    half = _half_squares(a, b)
    wanted = any(gradient is not None for gradient in gradients)
    total, slopes = x.new_zeros(()), torch.zeros_like(half) if wanted else None
    values = torch.empty_like(half)
    for sigma in bandwidths:
        torch.exp(torch.mul(half, -1.0 / sigma, out=values), out=values)
        total += values.sum()
        if slopes is not None:
            slopes.add_(values, alpha=1.0 / sigma)
    for gradient, place, own, other, w in zip(gradients, (rows, columns), (a, b), (b, a), (slopes, _turned(slopes))):
        if gradient is not None and w is not None:
            gradient[place].add_(torch.addcmul(w @ other, own, w.sum(1, keepdim=True), value=-1.0), alpha=times)
    return times * total


def _turned(slopes: Tensor | None) -> Tensor | None:
    return slopes if slopes is None else slopes.T


def _half_squares(a: Tensor, b: Tensor) -> Tensor:
    """½‖a_i − b_j‖² `[A, B]`; the mean of b is taken off both first, so that it costs no digits."""
    centre = b.mean(0)
    a, b = a - centre, b - centre
    norms = 0.5 * b.square().sum(1)
    return torch.addmm(norms, a, b.T, alpha=-1.0).add_(0.5 * a.square().sum(1)[:, None]).clamp_(min=0.0)
