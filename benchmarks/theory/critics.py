"""A critic against exact transport, on a line."""

from math import erf, exp, pi, sqrt
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks.theory.distances import transport
from benchmarks.theory.drawing import GREY, ORANGE, axes, densities
from benchmarks.theory.line import Normal
from benchmarks.theory.training import alone, perceptron, played
from simulacra.costs.adversarial import separate
from simulacra.data.batch import Batch
from simulacra.game import Game
from simulacra.optimizers import SGD, Adam
from simulacra.penalties.gradient import gradient_penalty
from simulacra.play import At, Terms


def exact_wasserstein(p: Normal, q: Normal) -> float:
    """W₁ of two normals: the best plan pairs equal quantiles, so it is E|μ + σz| with μ and σ their differences."""
    mu, sigma = abs(p.mean - q.mean), abs(p.deviation - q.deviation)
    if sigma == 0:
        return mu
    return sigma * sqrt(2 / pi) * exp(-(mu**2) / (2 * sigma**2)) + mu * erf(mu / (sigma * sqrt(2)))


class Estimate(NamedTuple):
    """A critic's difference of means on two samples and its Lipschitz constant on them."""

    difference: float
    lipschitz: float

    @property
    def bound(self) -> float:
        """What W₁ of the two samples is at least."""
        return self.difference / self.lipschitz


@torch.no_grad()
def estimate(critic: nn.Module, real: Tensor, fake: Tensor) -> Estimate:
    """Of rows `[N, 1]`. On a line the steepest chord between neighbours is the Lipschitz constant on all points."""
    x = torch.cat([real, fake]).sort(0).values
    lipschitz = (critic(x).diff(dim=0) / x.diff(dim=0)).abs().max()
    return Estimate((critic(real).mean() - critic(fake).mean()).item(), lipschitz.item())


class Fitted(NamedTuple):
    """A critic, the samples `[N, 1]` it was trained on, and its estimates every 20 steps."""

    critic: nn.Module
    real: Tensor
    fake: Tensor
    estimates: list[Estimate]


def critic_game(critic: nn.Module, fake: Tensor, optimizer: SGD | Adam, weight: float, one_sided: bool) -> Game:
    """The critic alone, against fakes that stay as they are, under a gradient penalty."""

    def cost(batch: Batch, at: At) -> Terms:
        penalty = gradient_penalty(critic, batch.x, fake, at.uniform(), weight, one_sided)
        return separate(critic(batch.x), critic(fake)) | {"penalty": penalty}

    return alone("critic", critic, optimizer, cost)


def fitted_critic(p: Normal, q: Normal, steps: int = 600, weight: float = 50.0) -> Fitted:
    """A perceptron with the one-sided gradient penalty, on all of 512 samples of each in every step."""
    critic, real, fake = perceptron(nn.ReLU), p.draw(512, 1), q.draw(512, 2)
    game = critic_game(critic, fake, Adam(lr=0.01, betas=(0.5, 0.9)), weight, one_sided=True)
    found = [estimate(critic, real, fake) for step in played(game, real, steps) if step % 20 == 0]
    return Fitted(critic, real, fake, found)


def critic() -> Figure:
    p, q = Normal(0.0, 0.5), Normal(0.7, 1.5)
    fitted = fitted_critic(p, q)
    figure, (left, right) = axes(2)
    learnt(left, fitted, p, q)
    estimates(right, fitted)
    return figure


def learnt(one: Axes, fitted: Fitted, p: Normal, q: Normal) -> None:
    x = torch.linspace(-3.5, 5.0, 300, dtype=torch.float64)
    with torch.no_grad():
        found = fitted.critic(x[:, None])[:, 0]
    one.plot(x, (found - found.min()) / (found.max() - found.min()), color=ORANGE, lw=2, label="critic (scaled)")
    densities(one, x, p, q)
    one.set(xlabel="x", title="what the critic learns", ylim=(0, 1.4))
    one.legend(fontsize=9, loc="upper left")


def estimates(one: Axes, fitted: Fitted) -> None:
    steps = [20 * (k + 1) for k in range(len(fitted.estimates))]
    one.plot(steps, [each.difference for each in fitted.estimates], color=GREY, lw=1.2, label="difference of means")
    one.plot(steps, [each.bound for each in fitted.estimates], color=ORANGE, lw=2, label="… / Lipschitz constant")
    exact = transport(fitted.real, fitted.fake).item()
    one.axhline(exact, color="k", ls="--", lw=1.2, label="exact W of the samples")
    one.set(xlabel="critic steps", title="its estimate of W", ylim=(0, 1.6 * exact))
    one.legend(fontsize=9, loc="lower right")
