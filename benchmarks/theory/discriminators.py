"""The best discriminator, what it leaves to the generator, and a trained one."""

from math import log

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from benchmarks.theory.drawing import BLUE, GREY, ORANGE, axes, densities
from benchmarks.theory.line import GRID, Normal, integral, log_ratio
from benchmarks.theory.training import alone, pair, perceptron, played
from simulacra.costs.adversarial import classify
from simulacra.data.batch import Batch
from simulacra.optimizers import Adam
from simulacra.play import At, Terms


def value_at_best(p: Normal, q: Normal) -> float:
    """V(D*, G) = ∫ p log D* + q log(1 − D*), by the library's costs."""
    score = log_ratio(p, q, GRID)
    terms = classify(score, score)
    return -integral(p.log_density(GRID).exp() * terms["real"] + q.log_density(GRID).exp() * terms["fake"])


def jensen_shannon(p: Normal, q: Normal) -> float:
    """½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2."""
    a, b = p.log_density(GRID), q.log_density(GRID)
    middle = torch.logaddexp(a, b) - log(2)
    return 0.5 * integral(a.exp() * (a - middle) + b.exp() * (b - middle))


def trained_discriminator(p: Normal, q: Normal, steps: int = 400) -> nn.Module:
    """A perceptron after Adam steps on 1024 new samples of each."""
    scores = perceptron()

    def cost(batch: Batch, at: At) -> Terms:
        real, fake = pair(p, q, at)
        return classify(scores(real), scores(fake))

    for _ in played(alone("discriminator", scores, Adam(lr=0.01), cost), torch.zeros(1024, 1).double(), steps):
        pass
    return scores


def optimal_discriminator() -> Figure:
    figure, (left, right) = axes(2)
    best_and_trained(left)
    gaps = [0.25 * k for k in range(-24, 25)]
    right.plot(gaps, [value_at_best(Normal(0.0, 1.0), Normal(gap, 1.0)) for gap in gaps], color=BLUE, lw=2)
    right.axhline(-log(4), color=GREY, ls=":")
    right.text(6, -log(4) + 0.03, "−2 log 2", ha="right", color=GREY)
    right.set(xlabel="mean of q, data at 0", title="V(D*, G) = 2 JS − 2 log 2")
    return figure


def best_and_trained(one: Axes) -> None:
    p, q = Normal(-1.0, 1.0), Normal(1.0, 0.6)
    x = torch.linspace(-4.0, 4.0, 400, dtype=torch.float64)
    densities(one, x, p, q, ("data p", "generator q"))
    one.plot(x, log_ratio(p, q, x).sigmoid(), "k", label="p / (p + q)")
    found = trained_discriminator(p, q)(x[:, None])[:, 0].detach().sigmoid()
    one.plot(x, found, "--", color=ORANGE, label="trained D")
    one.set(xlabel="x", title="the best discriminator", ylim=(0, 1.45))
    one.legend(ncols=2, loc="upper center", fontsize=9)
