"""Who moves first: a game of few moves, its min max and its max min."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.theory.drawing import axes

GENERATORS = {"all on A": (1.0, 0.0), "all on B": (0.0, 1.0), "half, half": (0.5, 0.5)}
DISCRIMINATORS = {"A looks fake": (0.2, 0.8), "cannot tell": (0.5, 0.5), "B looks fake": (0.8, 0.2)}


def payoffs() -> Tensor:
    """V(D, G) `[generators, discriminators]` for data half at A and half at B, D by its values there."""
    data = torch.tensor([0.5, 0.5], dtype=torch.float64)
    fakes, d = (torch.tensor([*t.values()], dtype=torch.float64) for t in (GENERATORS, DISCRIMINATORS))
    return data @ d.T.log() + fakes @ (1 - d).log().T


def min_max(table: Tensor) -> float:
    """G (rows) must commit first and D answers."""
    return table.max(1).values.min().item()


def max_min(table: Tensor) -> float:
    """D (columns) must commit first and G answers."""
    return table.min(0).values.max().item()


def order() -> Figure:
    figure, (one,) = axes(1, 2.6)
    table = payoffs()
    one.imshow(table, cmap="Blues_r", aspect="auto", vmin=-3.2, vmax=-0.9)
    numbers(one, table)
    one.set_xticks(range(3), [*DISCRIMINATORS])
    one.set_yticks(range(3), [f"G: {name}" for name in GENERATORS])
    one.spines[:].set_visible(False)
    one.tick_params(length=0)
    found = [f"min max {min_max(t):.2f}, max min {max_min(t):.2f}" for t in (table[:2], table)]
    one.set_title("two rows: {};  all three: {}".format(*found).replace("-", "−"), fontsize=9)
    return figure


def numbers(one: Axes, table: Tensor) -> None:
    """Every value in its cell, white on dark."""
    for i in range(3):
        for j in range(3):
            ink = "white" if table[i, j] < -2 else "black"
            one.text(j, i, f"{table[i, j]:.2f}".replace("-", "−"), ha="center", va="center", color=ink, size=12)
