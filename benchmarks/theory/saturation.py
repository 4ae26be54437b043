"""The generator's gradient under a discriminator that is right: vanishing by one cost, all noise by the other."""

from math import exp

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.theory.drawing import BLUE, GREY, RED, axes
from benchmarks.theory.line import GRID, Normal, integral, log_ratio, noise
from simulacra.costs.adversarial import OBJECTIVES


def slope(objective: str, score: Tensor) -> Tensor:
    """∂ cost / ∂ score of the generator, at each score."""
    score = score.clone().requires_grad_()
    (cost,) = OBJECTIVES[objective].generator(score).values()
    return torch.autograd.grad(cost.sum(), score)[0]


def pull(objective: str, gap: float) -> float:
    """|E ∂ cost / ∂ θ| of a generator θ + z at θ = `gap`, for data and noise of deviation 1, with D at its best."""
    p, q = Normal(0.0, 1.0), Normal(gap, 1.0)
    score = log_ratio(p, q, GRID)  # gap²/2 − gap·x: its slope by x is −gap
    return abs(integral(q.log_density(GRID).exp() * slope(objective, score) * -gap))


def noisy_gradients(n: int, objective: str) -> Tensor:
    """∂ cost / ∂ θ `[n]` at θ = 0 of D(θ) = ε + rθ: a perfect D, 0 on the fakes, whose value and slope are off by
    independent normal noise of deviation 0.01 and 1."""
    errors = noise(3, n, 2)
    theta = torch.zeros(n, dtype=torch.float64, requires_grad=True)
    d = 0.01 * errors[:, 0] + errors[:, 1] * theta
    cost = (1 - d).log() if objective == "minimax" else -d.abs().log()
    return torch.autograd.grad(cost.sum(), theta)[0]


def half_width(values: Tensor) -> float:
    """Half the distance between the quartiles."""
    low, high = torch.quantile(values, torch.tensor([0.25, 0.75], dtype=values.dtype)).tolist()
    return (high - low) / 2


def saturation() -> Figure:
    figure, (left, right) = axes(2)
    score = torch.linspace(-8.0, 8.0, 200, dtype=torch.float64)
    gaps = torch.linspace(0.1, 9.0, 60).tolist()
    for name, colour in (("minimax", RED), ("non-saturating", BLUE)):
        left.plot(score.sigmoid(), slope(name, score).abs(), color=colour, lw=2, label=name)
        right.semilogy(gaps, [pull(name, gap) for gap in gaps], color=colour, lw=2, label=name)
    bound = [0.5 * gap * exp(-(gap**2) / 8) for gap in gaps]
    right.semilogy(gaps, bound, color=GREY, ls=":", label="bound, ½ θ exp(−θ²/8)")
    left.set(xlabel="D(G(z))", ylabel="|∂ cost / ∂ score|", title="per sample")
    right.set(xlabel="θ, distance from the data", ylabel="|∂ cost / ∂ θ|", title="under the best D", ylim=(1e-5, 200))
    left.legend(fontsize=9)
    right.legend(fontsize=9, loc="lower left")
    return figure


def gradient_noise() -> Figure:
    figure, (one,) = axes(1)
    sizes = [2**k for k in range(11)]
    for name, colour in (("non-saturating", BLUE), ("minimax", RED)):
        means = [half_width(noisy_gradients(size * 2000, name).view(2000, size).mean(1)) for size in sizes]
        one.loglog(sizes, means, "o-", color=colour, ms=4, label=name)
    one.axhline(100.0, color=GREY, ls=":", label="quartile of the Cauchy law")
    one.set(xlabel="fakes in the batch", ylabel="quartile of the mean gradient", title="averaging does not help −log D")
    one.legend(fontsize=9, loc="center right")
    return figure
