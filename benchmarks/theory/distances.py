"""KL, JS and W between point sets: two parallel lines."""

from math import log

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.theory.drawing import BLUE, GREEN, RED, axes

Atom = tuple[float, ...]


def lines(theta: Tensor, points: int = 16) -> tuple[Tensor, Tensor]:
    """(0, y) and (θ, y) for equally spaced y in [0, 1]: rows `[points, 2]` of two equally weighted point sets."""
    y = torch.linspace(0.0, 1.0, points, dtype=torch.float64)
    return torch.stack([torch.zeros_like(y), y], 1), torch.stack([theta.expand(points), y], 1)


def kl(p: dict[Atom, float], q: dict[Atom, float]) -> float:
    """Σ p log p/q over the atoms of p; infinite where q lacks one."""
    return sum(w * log(w / q[atom]) if atom in q else float("inf") for atom, w in p.items())


def kl_and_js(a: Tensor, b: Tensor) -> tuple[float, float]:
    """KL and JS between two sets of distinct rows, equally weighted."""
    p, q = ({tuple(row): 1 / len(x) for row in x.tolist()} for x in (a, b))
    middle = {atom: 0.5 * (p.get(atom, 0.0) + q.get(atom, 0.0)) for atom in p | q}
    return kl(p, q), 0.5 * (kl(p, middle) + kl(q, middle))


def transport(a: Tensor, b: Tensor) -> Tensor:
    """W₁ between two sets of as many rows by the best assignment; differentiable, as the best plan stays put."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.linalg.vector_norm(a[:, None] - b[None], dim=2)
    return cost[linear_sum_assignment(cost.detach().numpy())].mean()


def parallel_lines() -> Figure:
    figure, (one,) = axes(1)
    thetas = [k / 20 for k in range(-20, 21)]
    found = [kl_and_js(*lines(torch.tensor(t, dtype=torch.float64))) for t in thetas]
    moved = [transport(*lines(torch.tensor(t, dtype=torch.float64))) for t in thetas]
    one.plot(thetas, moved, color=GREEN, lw=2, label="W = |θ|")
    one.plot(thetas, [js for _, js in found], "o", ms=4, color=BLUE, label="JS: log 2, and 0 at θ = 0")
    capped = [1.3 if value else 0.0 for value, _ in found]
    one.plot(thetas, capped, "^", ms=4, color=RED, label="KL: ∞ (off the scale), and 0 at θ = 0")
    one.set(xlabel="θ, the distance of the lines", ylim=(-0.05, 2.0), title="only W says which way to go")
    one.legend(loc="upper center", ncols=1, fontsize=9)
    return figure
