"""Descent on the size of the field, alone and within consensus: one player on a cost with a maximum."""

from math import sqrt

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.theory.drawing import BLUE, GREEN, GREY, ORANGE, RED, axes
from benchmarks.theory.games import Point, trajectory
from simulacra.game import Game, Move, Player, Round, Rule, consensus, leave
from simulacra.optimizers import SGD
from simulacra.rules import half_squared_field


def under_consensus(matrix: Tensor, gamma: float) -> Tensor:
    """J − γJᵀJ: what consensus makes of the field's Jacobian J where the field is 0 (Mescheder et al. 2017, §4)."""
    return matrix - gamma * matrix.T @ matrix


def double_well(rule: Rule, start: float, lr: float = 0.1) -> Game:
    """One player descends x⁴/4 − x²/2: least at ±1, greatest in between at 0."""
    point = Point(start)
    move = Move(name="x", players=["x"], cost=lambda rows, at: {"f": point.at**4 / 4 - point.at**2 / 2})
    return Game([Player(name="x", module=point, optimizer=SGD(lr=lr))], [Round(move, rule=rule)])


def border(gamma: float) -> float:
    """Consensus from any start nearer to 0 ends there: where v(1 + γv′) = 0 with v = x³ − x, so 1 + γ(3x² − 1) = 0."""
    return sqrt(max(1 - 1 / gamma, 0.0) / 3)


PATHS = {
    "descent": (leave, BLUE, 0.0),
    "consensus, γ = 0.5": (consensus(0.5), GREEN, 0.012),
    "consensus, γ = 2": (consensus(2.0), ORANGE, 0.012),
    "½‖v‖² alone": (half_squared_field, RED, 0.024),
}


def field_alone() -> Figure:
    figure, (left, right) = axes(2, 3.4)
    four_rules(left)
    held_back(right)
    return figure


def four_rules(one: Axes) -> None:
    """Their paths from 0.3, on the curve of the cost or just above it."""
    x = torch.linspace(-0.4, 1.4, 200)
    one.plot(x, x**4 / 4 - x**2 / 2, color="k", lw=1.2)
    for name, (rule, colour, lift) in PATHS.items():
        path = trajectory(double_well(rule, 0.3), 60)[:, 0]
        one.plot(path, path**4 / 4 - path**2 / 2 + lift, ".-", color=colour, ms=5, lw=1, label=name)
    one.plot(0.3, 0.3**4 / 4 - 0.3**2 / 2, "ko", ms=6)
    one.set(xlabel="x", ylabel="cost", title="four rules from x = 0.3", ylim=(-0.27, 0.22))
    one.legend(fontsize=8, loc="upper left")


def held_back(one: Axes) -> None:
    """The starts from which consensus ends at the maximum, by its weight."""
    gammas = torch.logspace(0, 1.5, 200).tolist()
    one.fill_between(gammas, [border(gamma) for gamma in gammas], color=RED, alpha=0.15, lw=0)
    one.plot(gammas, [border(gamma) for gamma in gammas], color=RED, lw=1.2)
    for gamma in (0.5, 1.1, 2.0, 4.0, 10.0):
        for start in (0.1, 0.3, 0.48, 0.7):
            end = trajectory(double_well(consensus(gamma), start, lr=0.04), 150)[-1, 0]
            one.plot(gamma, start, "o", ms=5, color=RED if end < start else BLUE)
    one.axvline(1.0, color=GREY, ls=":")
    one.set(xscale="log", xlim=(0.4, 31), ylim=(0, 0.85), xlabel="γ", ylabel="start")
    one.set_title("consensus ends at the maximum\n(red) or at the minimum (blue)", fontsize=10)
