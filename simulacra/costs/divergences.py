"""Divergences: f-divergences with their variational bounds, and closed forms between Gaussians, in nats.

D_f(P‖Q) = ∫ q f(p/q) for a convex f on u > 0 (Nowozin, Cseke & Tomioka 2016, eq. 2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

Function = Callable[[Tensor], Tensor]


def kl_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, I)) `[N]` from μ and log σ² `[N, J]` (Kingma & Welling 2014, appendix B)."""
    return kl_of_each(mean, log_variance).sum(1)


def kl_of_each(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The parts of `kl_standard_normal` that belong to each dimension, `[N, J]`."""
    return -0.5 * (1.0 + log_variance - mean.square() - log_variance.exp())


def kl_standard_normal_cholesky(mean: Tensor, factor: Tensor) -> Tensor:
    """KL(N(μ, LLᵀ) ‖ N(0, I)) `[N]` from μ `[N, J]` and lower triangular L `[N, J, J]` with a positive diagonal:
    ½(tr LLᵀ + μᵀμ − J) − Σ_j log L_jj."""
    spread = factor.square().sum((1, 2)) + mean.square().sum(1) - mean.shape[1]
    return 0.5 * spread - factor.diagonal(dim1=1, dim2=2).log().sum(1)


def free_bits(kl: Tensor, floor: float) -> Tensor:
    """Σ_j max(λ, mean over rows of KL_j), a scalar, from `kl` `[N, J]` and λ = `floor` in nats (Kingma et al. 2016,
    "Improved Variational Inference with Inverse Autoregressive Flow", each dimension a group of its own).
    Where a dimension costs less than λ it has no gradient. The mean is over the rows seen together."""
    return kl.mean(0).clamp(min=floor).sum()


def warmed(progress: float, share: float) -> float:
    """A weight that rises from 0 to 1 while `progress` goes from 0 to `share`, both in [0, 1]: the warm-up of a
    divergence from the prior (Bowman et al. 2016, "Generating Sentences from a Continuous Space", §3.1; Sønderby et al.
    2016, "Ladder Variational Autoencoders"), so that latents are of use before they are paid for in full."""
    return progress / share if progress < share else 1.0


class Gaussian(NamedTuple):
    """N(μ, diag σ²) per row, by μ and log σ² `[N, J]`."""

    mean: Tensor
    log_variance: Tensor


def gaussian_kl(p: Gaussian, q: Gaussian) -> Tensor:
    """KL(P‖Q) `[N]`; the reverse KL is that of (q, p)."""
    gap = p.log_variance - q.log_variance
    return 0.5 * (gap.exp() - 1.0 - gap + (p.mean - q.mean).square() / q.log_variance.exp()).sum(1)


def gaussian_pearson(p: Gaussian, q: Gaussian) -> Tensor:
    """Pearson's χ²(P‖Q) = ∫ (p − q)² / q `[N]`; infinite where P's variance is at least twice Q's."""
    return _log_moment(p, q, 2.0).expm1()


def gaussian_squared_hellinger(p: Gaussian, q: Gaussian) -> Tensor:
    """∫ (√p − √q)² `[N]`, in [0, 2]: without the factor ½ that some carry."""
    return -2.0 * _log_moment(p, q, 0.5).expm1()


def gaussian_alpha(p: Gaussian, q: Gaussian, alpha: float) -> Tensor:
    """(∫ p^α q^(1−α) − 1) / (α(α − 1)) `[N]` for α other than 0 and 1; infinite where the integral is."""
    return _log_moment(p, q, alpha).expm1() / (alpha * (alpha - 1.0))


def _log_moment(p: Gaussian, q: Gaussian, alpha: float) -> Tensor:
    """log ∫ p^α q^(1−α) `[N]`: completing the square leaves the variance (1−α)σ_p² + ασ_q², which must be positive."""
    beta = 1.0 - alpha
    variance = beta * p.log_variance.exp() + alpha * q.log_variance.exp()
    spread = beta * p.log_variance + alpha * q.log_variance - variance.log()
    logs = 0.5 * (spread - alpha * beta * (p.mean - q.mean).square() / variance)
    return torch.where(variance > 0, logs, inf).sum(1)


@dataclass(frozen=True, kw_only=True)
class FDivergence:
    """D_f and what a critic v(x) on all reals needs to bound it (Nowozin et al. 2016, tables 1, 2, 5 and 6).

    `f`: the generator function, of ratios u > 0. `activation`: g_f, which takes scores v into the domain of f*.
    `conjugate`: f*(t) = sup_u ut − f(u) (eq. 3). `optimal`: T* = f'(u) at u = p(x)/q(x) (eq. 5).
    `conjugate_of_score`: f*(g_f(v)), simplified so that it overflows only where its value does.
    """

    name: str
    f: Function
    activation: Function
    conjugate: Function
    optimal: Function
    conjugate_of_score: Function


def variational_bound(divergence: FDivergence, real: Tensor, fake: Tensor) -> Tensor:
    """E_P[g_f(v)] − E_Q[f*(g_f(v))], at most D_f(P‖Q), from scores v at samples of P and of Q (eqs. 4 and 7)."""
    return divergence.activation(real).mean() - divergence.conjugate_of_score(fake).mean()


def alpha_divergence(alpha: float) -> FDivergence:
    """f(u) = (u^α − 1 − α(u − 1)) / (α(α − 1)): KL for α → 1, reverse KL for α → 0, half of Pearson's χ² at 2.

    For α > 1 f* is cut off where the best u would be negative: flat for t below −1/(α − 1). For 0 < α < 1, f*(g_f(v))
    grows as exp(vα/(1 − α)) and overflows to infinity. Raises ValueError at α = 0 and α = 1.
    """
    if alpha in (0.0, 1.0):
        raise ValueError(f"alpha is {alpha:g}: take 'reverse-kl' for 0 and 'kl' for 1")
    power, rest = alpha / (alpha - 1.0), alpha - 1.0

    def conjugate(t: Tensor) -> Tensor:
        return ((rest * t + 1.0).clamp(min=0.0) ** power - 1.0) / alpha

    def conjugate_of_score(v: Tensor) -> Tensor:
        if alpha > 1.0:
            return conjugate(v)
        return (power * (log(-rest) + _log_softplus(-v))).expm1() / alpha

    return FDivergence(
        name="alpha",
        f=lambda u: (u**alpha - 1.0 - alpha * (u - 1.0)) / (alpha * rest),
        activation=lambda v: v if alpha > 1.0 else -1.0 / rest + logsigmoid(v),
        conjugate=conjugate,
        optimal=lambda u: (u**rest - 1.0) / rest,
        conjugate_of_score=conjugate_of_score,
    )


def _log_softplus(x: Tensor) -> Tensor:
    """log softplus(x), which is x itself, to 1e-13, where softplus would underflow."""
    return softplus(x.clamp(min=-30.0)).log() + (x + 30.0).clamp(max=0.0)


KL = FDivergence(
    name="kl",
    f=lambda u: u * u.log(),
    activation=lambda v: v,
    conjugate=lambda t: (t - 1.0).exp(),
    optimal=lambda u: 1.0 + u.log(),
    conjugate_of_score=lambda v: (v - 1.0).exp(),
)
"""KL(P‖Q). f* overflows at scores above 88 (float32)."""

REVERSE_KL = FDivergence(
    name="reverse-kl",
    f=lambda u: -u.log(),
    activation=lambda v: -(-v).exp(),
    conjugate=lambda t: -1.0 - (-t).log(),
    optimal=lambda u: -1.0 / u,
    conjugate_of_score=lambda v: v - 1.0,
)
"""KL(Q‖P). g_f overflows at scores below −88 (float32)."""

PEARSON = FDivergence(
    name="pearson",
    f=lambda u: (u - 1.0).square(),
    activation=lambda v: v,
    conjugate=lambda t: 0.25 * t.square() + t,
    optimal=lambda u: 2.0 * (u - 1.0),
    conjugate_of_score=lambda v: 0.25 * v.square() + v,
)
"""∫ (p − q)²/q. f* as in the paper, of f on all reals: it rises again below t = −2, where no best critic is."""

SQUARED_HELLINGER = FDivergence(
    name="hellinger",
    f=lambda u: (u.sqrt() - 1.0).square(),
    activation=lambda v: -(-v).expm1(),
    conjugate=lambda t: t / (1.0 - t),
    optimal=lambda u: 1.0 - u.rsqrt(),
    conjugate_of_score=lambda v: v.expm1(),
)
"""∫ (√p − √q)². g_f overflows at scores below −88, f* above 88 (float32)."""

JENSEN_SHANNON = FDivergence(
    name="jensen-shannon",
    f=lambda u: u * u.log() - (1.0 + u) * (0.5 * (1.0 + u)).log(),
    activation=lambda v: log(2.0) + logsigmoid(v),
    conjugate=lambda t: -(2.0 - t.exp()).log(),
    optimal=lambda u: (2.0 * u / (1.0 + u)).log(),
    conjugate_of_score=lambda v: softplus(v) - log(2.0),
)
"""KL(P‖M) + KL(Q‖M), M = (P + Q)/2: twice the Jensen–Shannon divergence of the lectures, as the paper's f has it."""

GAN = FDivergence(
    name="gan",
    f=lambda u: u * u.log() - (1.0 + u) * (1.0 + u).log(),
    activation=logsigmoid,
    conjugate=lambda t: -(-t.expm1()).log(),
    optimal=lambda u: (u / (1.0 + u)).log(),
    conjugate_of_score=softplus,
)
"""2·JS − log 4, the value of Goodfellow's game at its best discriminator (eq. 8); −log 4, not 0, at P = Q."""

TOTAL_VARIATION = FDivergence(
    name="total-variation",
    f=lambda u: 0.5 * (u - 1.0).abs(),
    activation=lambda v: 0.5 * v.tanh(),
    conjugate=lambda t: t,
    optimal=lambda u: 0.5 * (u - 1.0).sign(),
    conjugate_of_score=lambda v: 0.5 * v.tanh(),
)
"""½ ∫ |p − q|, in [0, 1]. T* = ±½ is reached only by scores that go to infinity."""

ALPHA = alpha_divergence(1.5)
"""The α-divergence midway between KL and half of Pearson's χ²."""

F_DIVERGENCES = {
    each.name: each
    for each in (KL, REVERSE_KL, PEARSON, SQUARED_HELLINGER, JENSEN_SHANNON, GAN, TOTAL_VARIATION, ALPHA)
}
