"""The MMD two-sample test: its false positives where both sides are one law, and its power where one is moved.

    python -m benchmarks.two_sample [--draws 1000] [--power-draws 200]

Writes the table and its figure into docs/results.md; under a minute on one thread of an Intel Xeon.

Each test is that of `metrics.kernel`: a Gaussian kernel whose bandwidth is the median distance, 200 permutations, level
0.05. Both sides have 100 rows in 5 dimensions. Null draws: both from N(0, I), from a mixture of two Gaussians, or from
a heavy-tailed law (Student's t with 3 degrees of freedom). Power: N(0, I) against N(δ e₁, I), and against N(0, s² I).
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.tables import ROOT, markdown, write
from simulacra.metrics.kernel import median_bandwidth, permutation_p, squared_distances
from simulacra.randomness import generator

ROWS, WIDTH, PERMUTATIONS, LEVEL = 100, 5, 200, 0.05
PICTURE = ROOT / "docs" / "images" / "two-sample.png"
Draw = Callable[[torch.Generator], Tensor]


def normal(noise: torch.Generator) -> Tensor:
    return torch.randn(ROWS, WIDTH, generator=noise, dtype=torch.float64)


def clusters(noise: torch.Generator) -> Tensor:
    side = torch.randint(2, (ROWS, 1), generator=noise).double() * 6 - 3
    return normal(noise) + side


def heavy(noise: torch.Generator) -> Tensor:
    chi = torch.stack([normal(noise) for _ in range(3)]).square().mean(0)
    return normal(noise) / chi.sqrt()


NULLS: dict[str, Draw] = {"normal": normal, "two clusters": clusters, "heavy tails": heavy}


def p_value(x: Tensor, y: Tensor, seed: int) -> float:
    """The p of one test."""
    squares = squared_distances(torch.cat([x, y]))
    kernel = squares.div(-2.0 * median_bandwidth(squares) ** 2).exp_().fill_diagonal_(0.0)
    return permutation_p(kernel, len(x), PERMUTATIONS, seed)


def rejected(one: Draw, other: Draw, draws: int, key: int) -> tuple[float, float]:
    """The share of rejections, and its standard error."""
    noises = [generator(torch.device("cpu"), key, draw) for draw in range(draws)]
    found = [p_value(one(noise), other(noise), draw) <= LEVEL for draw, noise in enumerate(noises)]
    share = sum(found) / draws
    return share, (share * (1 - share) / draws) ** 0.5


def percent(share: float, error: float) -> str:
    return f"{100 * share:.1f} ± {100 * error:.1f} %"


def powers(draws: int) -> dict[str, list[tuple[float, float, float]]]:
    """(what was changed, power, its error), by what was changed."""
    moved = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8]
    wider = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8]
    axis = torch.eye(WIDTH, dtype=torch.float64)[0]
    return {
        "shift of the mean": [
            (d, *rejected(normal, lambda noise, d=d: normal(noise) + d * axis, draws, 10 + k))
            for k, d in enumerate(moved)
        ],
        "ratio of deviations": [
            (s, *rejected(normal, lambda noise, s=s: s * normal(noise), draws, 30 + k)) for k, s in enumerate(wider)
        ],
    }


def picture(found: dict[str, list[tuple[float, float, float]]], path: Path) -> None:
    """Power curves, each with the level."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(8, 3), sharey=True, layout="constrained")
    for axis, (name, points) in zip(axes, found.items()):
        where, power, error = zip(*points)
        axis.errorbar(where, power, error, marker="o", capsize=2)
        axis.axhline(LEVEL, color="grey", linestyle="--", linewidth=1)
        axis.set(xlabel=name, ylim=(0, 1.02))
    axes[0].set_ylabel(f"share rejected at {LEVEL}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def text(draws: int, power_draws: int) -> str:
    """The table of false positives, those of power, and the figure, which is drawn."""
    nulls = [[name, percent(*rejected(draw, draw, draws, 1 + k))] for k, (name, draw) in enumerate(NULLS.items())]
    parts = [markdown([f"law of both sides, {draws} draws", f"rejected at {LEVEL}"], nulls)]
    found = powers(power_draws)
    for name, points in found.items():
        head, body = zip(*((where, percent(*rest)) for where, *rest in points))
        parts.append(markdown([name, *head], [[f"rejected, {power_draws} draws", *body]]))
    picture(found, PICTURE)
    return "\n\n".join([*parts, '<img src="images/two-sample.png" width="720" alt="power of the MMD test">'])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000, help="tests of equal laws")
    parser.add_argument("--power-draws", type=int, default=200, help="tests of each pair of different ones")
    given = parser.parse_args()
    write("two-sample", text(given.draws, given.power_draws))


if __name__ == "__main__":
    main()
