"""f-divergences, and what a critic shows of them."""

from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks.theory.drawing import BLUE, GREEN, ORANGE, RED, axes
from benchmarks.theory.line import GRID, Normal, integral, log_ratio
from benchmarks.theory.training import alone, pair, perceptron, played
from simulacra.costs.adversarial import f_gan
from simulacra.costs.divergences import F_DIVERGENCES, FDivergence
from simulacra.data.batch import Batch
from simulacra.optimizers import Adam
from simulacra.play import At, Terms


def f_divergence(divergence: FDivergence, p: Normal, q: Normal) -> float:
    """D_f(P‖Q) = ∫ q f(p/q)."""
    return integral(q.log_density(GRID).exp() * divergence.f(log_ratio(p, q, GRID).exp()))


def bound_of(divergence: FDivergence, p: Normal, q: Normal, critic: nn.Module) -> float:
    """∫ p g_f(v) − ∫ q f*(g_f(v)), what the critic's scores v show of D_f(P‖Q)."""
    with torch.no_grad():
        v = critic(GRID[:, None])[:, 0]
    real, fake = p.log_density(GRID).exp(), q.log_density(GRID).exp()
    return integral(real * divergence.activation(v) - fake * divergence.conjugate_of_score(v))


def share(divergence: FDivergence, p: Normal, q: Normal, value: float) -> float:
    """`value` between f(1), the divergence's least, and D_f(P‖Q), as a share of the way."""
    least = divergence.f(torch.ones(1, dtype=torch.float64)).item()
    return (value - least) / (f_divergence(divergence, p, q) - least)


class Bounded(NamedTuple):
    """A critic, and what it showed of the divergence by the number of its steps."""

    critic: nn.Module
    bounds: dict[int, float]


def fitted_bounds(divergence: FDivergence, p: Normal, q: Normal, steps: int = 300) -> Bounded:
    """A perceptron after Adam steps on 512 new samples of each; its bounds after 20, 60 and all steps."""
    critic, bounds = perceptron(), {}

    def cost(batch: Batch, at: At) -> Terms:
        real, fake = pair(p, q, at)
        return f_gan(divergence).discriminator(critic(real), critic(fake))

    game = alone("critic", critic, Adam(lr=0.02), cost)
    for step in played(game, torch.zeros(512, 1).double(), steps):
        if step in (20, 60, steps):
            bounds[step] = bound_of(divergence, p, q, critic)
    return Bounded(critic, bounds)


SHOWN = {"kl": BLUE, "reverse-kl": RED, "pearson": ORANGE, "jensen-shannon": GREEN}


def f_gans() -> Figure:
    p, q = Normal(0.0, 1.0), Normal(0.5, 1.2)
    x = torch.linspace(-3.0, 3.0, 200, dtype=torch.float64)
    figure, (left, right) = axes(2, 3.4)
    for place, (name, each) in enumerate(F_DIVERGENCES.items()):
        critic, bounds = fitted_bounds(each, p, q)
        for value, colour in zip(bounds.values(), ("#c6d5e6", "#7fa3c9", BLUE)):
            right.plot(share(each, p, q, value), place, "o", color=colour, ms=6)
        if name in SHOWN:
            best, found = each.optimal(log_ratio(p, q, x).exp()), each.activation(critic(x[:, None])[:, 0].detach())
            best_and_trained(left, name, x, best, found)
    left.set(xlabel="x", ylim=(-3.6, 2.6))
    left.set_title("T: the best (line), the trained (dashed)", fontsize=10)
    left.legend(fontsize=8, loc="lower left", ncols=1)
    frame_of_shares(right)
    return figure


def best_and_trained(one: Axes, name: str, x: Tensor, best: Tensor, found: Tensor) -> None:
    one.plot(x, best, color=SHOWN[name], lw=1.5, label=name)
    one.plot(x, found, "--", color=SHOWN[name], lw=1.2)


def frame_of_shares(one: Axes) -> None:
    one.axvspan(0.98, 1.0, color=GREEN, alpha=0.2, lw=0)
    one.axvline(1.0, color="k", lw=0.8)
    one.set_yticks(range(len(F_DIVERGENCES)), [*F_DIVERGENCES])
    one.invert_yaxis()
    one.set(xlabel="share of the divergence shown", xlim=(0.75, 1.01))
    one.set_title("the bound after 20, 60 and 300 steps", fontsize=10)
