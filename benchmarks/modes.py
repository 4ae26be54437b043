"""Modes of the ring and the grid: twenty-two ways of training on PacGAN's data, networks and counting.

    SIMULACRA_DATA=... python -m benchmarks.modes [--out runs] [--jobs 2] [--only recommended ...] [--plan] [--show]

Protocol (Lin et al. 2018, PacGAN, section 4.1, after Srivastava et al. 2017): 100 000 points, z two-dimensional and
normal, a generator of 4 hidden layers of 400 units with batch norm and ReLU, a discriminator of 3 hidden layers of 200
maxout units of 5 pieces, batches of 100; among 2 500 samples one within 3σ of a centre (Euclidean) is of high quality,
and a mode is there if one of high quality is nearest to it. Here: 25 000 generator steps, 10 000 of the recommended
way, the average of the generator's weights at the last one, and Adam at 10⁻⁴ with β₁ = 0.8 as in PacGAN's code except
where a row says more; in float32, which the recipes take for points. Rows in bfloat16 are from before they did, and
`--precision bfloat16` makes them again.

"Consensus" weighs ½‖v‖² by 10. "Packed m" is the vanilla game with m points to each judgement, 100 packs a step as in
PacGAN's code: m times as many points. "k 5" has the five critic steps and the β of WGAN-GP's paper, and "unrolled"
looks five steps of rate 0.01, or 0.001, ahead in the minimax game, as its paper does; both over 10 000 steps, as each
costs five times the vanilla game or more. "Minimax" is the same game without looking ahead.
"Fast" ones have the steps, the rates, their fall and the β of the recommended way. That has no batch norm in the
generator; "batch norm" is the same with it; "longer" is the recipe as it comes for so many points, 25 000 steps.

Counted by `--plan` on one core of an Intel Xeon, GFLOP a step and hours a row: recommended 1.2 and 0.07, longer 0.17;
vanilla 1.0 and 0.13, wgan-gp 1.4 and 0.17, with k = 5 5.0 and 0.4, sn-hinge 1.0 and 0.19, consensus 4.1 and 0.45,
unrolled 7.7 and 0.4.
"""

import statistics
from pathlib import Path
from typing import Any

import torch

import simulacra
from benchmarks.tables import Row, Table, conduct, cost, curve, markdown, spread
from simulacra.data.worlds.points import GRID, RING
from simulacra.metrics.modes import Hits, hits_of_points

STEPS, FEWER, SAMPLES, DRAWS = 25_000, 10_000, 2_500, 5
NETWORKS = {
    "latent": "2",
    "width": "400",
    "depth": "4",
    "activation": "relu",
    "generator_norm": "batch",
    "discriminator_width": "200",
    "discriminator_depth": "3",
    "maxout": "5",
    "batch": "100",
}
BETAS = {"generator.betas": "0.8,0.999", "discriminator.betas": "0.8,0.999"}
CRITIC = {"generator.betas": "0.5,0.9", "discriminator.betas": "0.5,0.9"}
RATES = {"generator.lr": "1e-4", "discriminator.lr": "1e-4"}
PACGAN = NETWORKS | BETAS | RATES
MOMENTUM = {"generator.betas": "0.5,0.99", "discriminator.betas": "0.5,0.99"}
RECOMMENDED = {"batch": "100", "fade": "1e-6"} | MOMENTUM
TOLD = {"objective": "relativistic", "r1": "1", "r2": "1", "r1_every": "8", "schedule": "linear"}
FASTER = {"generator.lr": "1e-3", "discriminator.lr": "1e-3"}
FAST = FASTER | MOMENTUM | {"schedule": "linear"}
PACKS = {m: {"objective": "non-saturating", "pack": str(m), "batch": str(100 * m)} for m in (2, 3, 4)}
METHODS = {
    "recommended": RECOMMENDED,
    "longer": RECOMMENDED,
    "recommended, bfloat16": RECOMMENDED,
    "longer, bfloat16": RECOMMENDED,
    "batch norm": NETWORKS | TOLD | FASTER | RECOMMENDED,
    "vanilla": PACGAN | {"objective": "non-saturating"},
    "wgan-gp": PACGAN | {"objective": "wasserstein", "gradient_penalty": "10"},
    "wgan-gp, k 5": PACGAN
    | CRITIC
    | {"objective": "wasserstein", "gradient_penalty": "10", "discriminator_steps": "5"},
    "sn-hinge": PACGAN | {"objective": "hinge", "spectral": "true"},
    "vanilla, fast": PACGAN | FAST | {"objective": "non-saturating"},
    "wgan-gp, fast": PACGAN | FAST | {"objective": "wasserstein", "gradient_penalty": "10"},
    "sn-hinge, fast": PACGAN | FAST | {"objective": "hinge", "spectral": "true"},
    "consensus": PACGAN | {"turns": "simultaneous", "rule": "consensus", "consensus": "10"},
    "minimax": PACGAN | {"objective": "minimax"},
    "unrolled": PACGAN | {"objective": "minimax", "unrolled": "5", "unrolled_rate": "0.01"},
    "unrolled, 0.001": PACGAN | {"objective": "minimax", "unrolled": "5", "unrolled_rate": "0.001"},
}
METHODS |= {f"packed {m}": PACGAN | pack for m, pack in PACKS.items()}
METHODS |= {f"packed {m}, fast": PACGAN | FAST | pack for m, pack in PACKS.items()}
SEEDS = {"recommended": 10, "longer": 10, "batch norm": 1, "minimax": 1}
SEEDS |= {"recommended, bfloat16": 10, "longer, bfloat16": 10}
SHORT = "recommended", "batch norm", "minimax", "unrolled", "unrolled, 0.001", "wgan-gp, k 5", "recommended, bfloat16"
LENGTHS: dict[str, int] = dict.fromkeys(SHORT, FEWER)
LENGTHS |= {name: FEWER for name in METHODS if name.endswith("fast")}
WORLDS = {"ring": RING, "grid": GRID}


def row(method: str, world: str, seed: int) -> Row:
    """One training. `rpgan` has the networks for points; `gan` is told of them."""
    recipe = "rpgan" if METHODS[method] is RECOMMENDED else "gan"
    steps = LENGTHS.get(method, STEPS)
    watch = {"evaluate": "modes", "evaluate_samples": str(SAMPLES), "evaluate_every": str(steps // 10)}
    watch |= {"precision": "bfloat16"} if method.endswith("bfloat16") else {}
    return Row(f"{method}-{world}-{seed}", recipe, world, steps, METHODS[method], seed, watch)


def rows() -> list[Row]:
    """Every method on both worlds, the first seed of all before the second of any."""
    return [
        row(method, world, seed)
        for seed in range(10)
        for method in METHODS
        for world in WORLDS
        if seed < SEEDS.get(method, 5)
    ]


def judge(run: Path) -> dict[str, Any]:
    """Modes, their number, the share of high quality and the curve, of the run's model; both also of five draws of
    samples, of which the first is the one that counts."""
    world, model = WORLDS[run.name.split("-")[-2]], simulacra.load(run)
    draws = [
        counted(hits_of_points(model.sample(SAMPLES, seed=seed), world), len(world.centres)) for seed in range(DRAWS)
    ]
    seen = [[step, value] for step, value in curve(run, "high_quality")]
    modes, high = draws[0]
    return {"modes": modes, "of": len(world.centres), "high_quality": high, "draws": draws, "curve": seen}


def counted(hits: Hits, modes: int) -> tuple[int, float]:
    """How many modes are there, and the share of high quality."""
    found = torch.bincount(hits.mode[hits.good.bool()], minlength=modes)
    return int((found > 0).sum()), hits.good.double().mean().item()


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """The printed table: a line per method and world."""
    kinds = {(world, method): [] for world in WORLDS for method in METHODS}
    for key, one in sorted(done.items()):
        method, world, _ = key.rsplit("-", 2)
        kinds[world, method].append(one)
    return [_line(*kind, ours) for kind, ours in kinds.items() if ours]


def _line(world: str, method: str, ours: list[dict[str, Any]]) -> list[object]:
    first = row(method, world, 0)
    precision = "/".join(sorted({one["precision"] for one in ours}))
    seen = " ".join(f"{100 * value:.0f}" for _, value in ours[0]["curve"])
    return [world, method, precision, first.steps, len(ours), *_scores(ours), *_price(ours, first), seen]


def _scores(ours: list[dict[str, Any]]) -> list[str]:
    modes = spread([row["modes"] for row in ours], 1)
    return [f"{modes} of {ours[0]['of']}", spread([100 * row["high_quality"] for row in ours], 1)]


def _price(ours: list[dict[str, Any]], row: Row) -> list[str]:
    paid, seconds = cost(row), statistics.mean([row["seconds"] for row in ours])
    return [f"{paid.flops / 1e9:.2f}", f"{paid.gradients * row.steps / 1e3:.0f}", f"{seconds:.0f}"]


def seeds(done: dict[str, dict[str, Any]]) -> str:
    """The recommended recipe, seed by seed: modes, fewest to most of the draws, and the mean share of high quality."""
    head, found = ["recommended, seed", *range(10)], []
    for method in ("recommended", "longer"):
        for world in WORLDS:
            rows = [done.get(f"{method}-{world}-{seed}") for seed in range(10)]
            found.append([f"{world}, {row(method, world, 0).steps} steps", *map(_drawn, rows)])
    return markdown(head, found)


def _drawn(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    modes, high = zip(*row["draws"])
    several = f"{min(modes)} to {max(modes)}" if min(modes) < max(modes) else f"{modes[0]}"
    return f"{several}, {100 * statistics.mean(high):.1f}"


def text(done: dict[str, dict[str, Any]]) -> str:
    """Both tables."""
    costs = ["GFLOP a step", "1000 gradients", "seconds", "% at each tenth, seed 0"]
    head = ["data", "method", "precision", "steps", "seeds", "modes", "% of high quality", *costs]
    return f"{markdown(head, lines(done))}\n\n{seeds(done)}"


if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("modes", rows(), judge), text)
