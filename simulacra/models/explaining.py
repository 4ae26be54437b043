"""Hidden units of a deep belief net given the data. They explain each other away, so that they are drawn one at a time;
and log p(v), estimated in the way of Chib by how likely such a chain is to step onto one state (Murray & Salakhutdinov
2009, "Evaluating probabilities under high-dimensional latent variable models")."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from simulacra.networks.boltzmann import Machine
from simulacra.randomness import Noise

Choice = Callable[[int, Tensor], Tensor]
"""Bits `[N]` of the unit of that number, of the logits `[N]` of its being one given all the others."""


class Layer(NamedTuple):
    """p(v|h) = σ(b + hGᵀ).

    Attributes:
        weight: G `[V, H]`.
        bias: b `[V]`.
    """

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class State:
    """Hidden layers of N rows, which sweeps change in place.

    Attributes:
        hidden: h1, …, h_{L−1}: bits `[N, H_l]`.
        drives: the logits of the layer below each of them, and of the top units, `[N, V]`, `[N, H_1]`, …, `[N, H_L]`.
        filled: Σ log(1 + exp drive) of each drive `[N]`.
    """

    hidden: list[Tensor]
    drives: list[Tensor]
    filled: list[Tensor]

    def of(self, rows: Tensor) -> "State":
        """A copy of the rows of these numbers."""
        return State(*([part[rows] for part in parts] for parts in (self.hidden, self.drives, self.filled)))


class Posterior:
    """p(h1, …, h_{L−1}|v), the top units summed out, of a net with directed `layers` from below and the machine `top`,
    at rows v `[N, V]`. Units are numbered from h1 on."""

    def __init__(self, layers: Sequence[Layer], top: Machine, v: Tensor) -> None:
        self.layers, self.top, self.v = layers, top, v
        self.units = [(number, unit) for number, layer in enumerate(layers) for unit in range(layer.weight.shape[1])]

    def of(self, rows: Tensor) -> "Posterior":
        """That at the rows of these numbers."""
        return Posterior(self.layers, self.top, self.v[rows])

    def state(self, hidden: Sequence[Tensor]) -> State:
        """The state of these layers."""
        drives = [torch.addmm(layer.bias, h, layer.weight.T) for layer, h in zip(self.layers, hidden)]
        drives.append(self.top.drive(hidden[-1]))
        return State([h.clone() for h in hidden], drives, [summed(drive) for drive in drives])

    def log_joint(self, state: State) -> Tensor:
        """log p(v, h1, …, h_{L−1}) + log Z `[N]`."""
        below = zip([self.v, *state.hidden], state.drives, state.filled[:-1])
        fits = [(bits * drive).sum(1) - filled for bits, drive, filled in below]
        return torch.stack(fits).sum(0) + state.hidden[-1] @ self.top.visible + state.filled[-1]

    def visit(self, state: State, number: int, choose: Choice) -> None:
        """Give a unit the bits that `choose` makes of its conditional."""
        layer, unit = self.units[number]
        old = state.hidden[layer][:, unit]  # a view
        below = self.v if layer == 0 else state.hidden[layer - 1]
        down = self.layers[layer].weight[:, unit]
        neighbours = [(layer, down, -1.0)]  # drives, what the unit adds to them, and the sign of Σ log(1 + exp drive)
        if layer + 1 < len(self.layers):
            logit = below @ down + state.drives[layer + 1][:, unit]
        else:
            logit = below @ down + self.top.visible[unit]
            neighbours.append((layer + 1, self.top.weight[unit], 1.0))
        change, moved = 1.0 - 2.0 * old, []
        for at, weight, sign in neighbours:
            drive = torch.addcmul(state.drives[at], change[:, None], weight)
            moved.append((at, drive, summed(drive)))
            logit = logit + sign * change * (moved[-1][2] - state.filled[at])
        bit = choose(number, logit)
        (flipped,) = (bit != old).nonzero(as_tuple=True)
        old[flipped] = bit[flipped]
        for at, drive, filled in moved:
            state.drives[at][flipped], state.filled[at][flipped] = drive[flipped], filled[flipped]

    def sweep(self, state: State, choose: Choice, *, backwards: bool = False) -> None:
        """Visit every unit in order, or in the opposite one: the same step backwards in time."""
        for number in reversed(range(len(self.units))) if backwards else range(len(self.units)):
            self.visit(state, number, choose)

    def log_step(self, state: State, onto: Tensor) -> Tensor:
        """log of the probability `[N]` that a sweep from a state draws the bits `onto` `[N, units]`."""
        steps = []

        def follow(number: int, logit: Tensor) -> Tensor:
            bit = onto[:, number]
            steps.append(logsigmoid((2.0 * bit - 1.0) * logit))
            return bit

        self.sweep(state.of(torch.arange(len(onto))), follow)
        return torch.stack(steps).sum(0)


def summed(drive: Tensor) -> Tensor:
    """Σ log(1 + exp drive) `[N]` of a float64 drive: as log(1 + exp d) is max(d, 0) + log(1 + exp −|d|), with one
    logarithm of the product of a thousand terms, none of which is above two."""
    terms = drive.abs().neg_().exp_().add_(1.0)
    return drive.clamp(min=0.0).sum(1) + torch.stack([part.prod(1).log() for part in terms.split(1000, dim=1)]).sum(0)


def more_probable(number: int, logit: Tensor) -> Tensor:
    """The bit that a unit is the likelier to have."""
    return (logit > 0).to(logit)


def drawn_with(uniform: Tensor) -> Choice:
    """Bits drawn by noise `[N, units]` on [0, 1)."""
    return lambda number, logit: (uniform[:, number] < logit.sigmoid()).to(logit)


def chib_estimate(posterior: Posterior, onto: State, sweeps: int, noise: Noise) -> Tensor:
    """log of an unbiased estimate of p(v) Z `[N]`, which is below log p(v) + log Z on average: p(v, h*) over the mean
    probability that a sweep from a state of a chain draws h*, which is `onto` (Murray & Salakhutdinov 2009, §3).

    The chain has `sweeps` states. One of them, its number drawn uniformly, is drawn from h* by a sweep backwards in
    time, those before it by further ones, those behind it by sweeps forwards.
    """
    target, number = torch.cat(onto.hidden, dim=1), (noise.uniform(1)[:, 0].cpu() * sweeps).long()
    total = torch.full_like(target[:, 0], -torch.inf)

    def walk(state: State, lengths: Tensor, longest: int, *, backwards: bool) -> State:
        """Sweep on from every row's state, so many times, and add up the probabilities of stepping onto h*."""
        rows = torch.arange(len(target))
        for done in range(longest):
            uniform, going = noise.uniform(target.shape[1]).to(target), lengths[rows] > done
            rows, state = rows[going], state.of(going)
            part = posterior.of(rows)
            part.sweep(state, drawn_with(uniform[rows]), backwards=backwards)
            total[rows] = torch.logaddexp(total[rows], part.log_step(state, target[rows]))
        return state

    middle = walk(onto, torch.ones_like(number), 1, backwards=True)
    walk(middle, number, sweeps - 1, backwards=True)
    walk(middle, sweeps - 1 - number, sweeps - 1, backwards=False)
    return posterior.log_joint(onto) - total + log(sweeps)
