"""Every objective, bare and constrained, on MNIST: eight named configurations on DCGAN's and on residual networks, and
every objective once more on DCGAN's, bare and with a spectrally normalised discriminator; and bare minimax without
batch norm, which tells what of the difference is the norm's.

    SIMULACRA_DATA=... python -m benchmarks.objectives [--out runs] [--jobs 2] [--only residual ...] [--plan] [--show]

All alike: 1 500 generator steps, each after one discriminator step, batches of 64, networks of base width 16, Adam at
10⁻³ with β = (0.5, 0.999) (also where a paper took another optimiser), the average of the generator's weights (decay
0.999). DCGAN's discriminator has batch norm where nothing constrains it, and none beside a penalty or spectral norm.
DCGAN's own rate, 2·10⁻⁴, is too slow for the discriminators without batch norm in so few steps: a table of its own
shows it. FID, precision and recall are of 10 000 samples against the 60 000 training images, in the features of
`mnist`; FID at ten equally spaced steps.

Counted by `--plan` on one core of an Intel Xeon, GFLOP a step and hours a row: DCGAN 1.5 to 2.3 and 0.02 to 0.04,
residual 3.4 to 4.0 and 0.05 to 0.09; all first seeds 2.5 hours, second ones 0.7, and a minute of scoring for each row.
"""

from pathlib import Path
from statistics import mean
from typing import Any

import simulacra
from benchmarks.tables import Row, Table, arguments, chosen, curve, failure, markdown, plan, write
from simulacra.costs.adversarial import OBJECTIVES

STEPS = 1_500
RATE, SLOW = "1e-3", "2e-4"
WATCH = {"evaluate": "fid", "evaluate_features": "mnist", "evaluate_every": str(STEPS // 10)}
NETWORKS = {
    "dcgan": ("dcgan", {"width": "16"}),
    "residual": ("sngan", {"width": "16", "discriminator_steps": "1", "schedule": "constant"}),
}
CONFIGURATIONS = {
    "non-saturating": {"objective": "non-saturating"},
    "least squares": {"objective": "least-squares"},
    "wgan, clipped": {"objective": "wasserstein", "clip": "0.01"},
    "wgan-gp": {"objective": "wasserstein", "gradient_penalty": "10"},
    "hinge, spectral": {"objective": "hinge", "spectral": "true"},
    "non-saturating, r1": {"objective": "non-saturating", "r1": "1"},
    "non-saturating, dragan": {"objective": "non-saturating", "dragan": "10", "dragan_spread": "0.1"},
    "relativistic, r1, r2": {"objective": "relativistic", "r1": "1", "r2": "1"},
}
HELD = ("clip", "gradient_penalty", "spectral", "r1", "dragan")


def configured(network: str, options: dict[str, str], rate: str) -> tuple[str, dict[str, str]]:
    """The recipe of `network` and its options for a configuration."""
    recipe, own = NETWORKS[network]
    players = ("generator", "discriminator")
    adam = {f"{player}.lr": rate for player in players} | {f"{player}.betas": "0.5,0.999" for player in players}
    if network == "residual":
        return recipe, own | adam | {"spectral": "false"} | options
    held = any(name in options for name in HELD)
    return recipe, own | adam | ({"discriminator_norm": "none"} if held else {}) | options


def row(network: str, name: str, options: dict[str, str], seed: int, rate: str = RATE) -> Row:
    """One training; slow ones say so in their key."""
    recipe, own = configured(network, options, rate)
    words = [network, name, *(["slow"] if rate == SLOW else []), str(seed)]
    return Row("-".join(words).replace(", ", "_").replace(" ", "_"), recipe, "mnist", STEPS, own, seed, WATCH)


def named() -> list[Row]:
    """The eight configurations on both networks, with two seeds."""
    return [
        row(network, name, options, seed)
        for seed in range(2)
        for network in NETWORKS
        for name, options in CONFIGURATIONS.items()
    ]


def slow() -> list[Row]:
    """The same on DCGAN's networks at DCGAN's learning rate, once."""
    return [row("dcgan", name, options, 0, SLOW) for name, options in CONFIGURATIONS.items()]


def every() -> list[Row]:
    """Every objective on DCGAN, bare and with spectral normalisation, where it is not among the named ones."""
    known = {tuple(sorted(options.items())) for options in CONFIGURATIONS.values()}
    found = [row("dcgan", "minimax, bare, no batch norm", {"objective": "minimax", "discriminator_norm": "none"}, 0)]
    for objective in OBJECTIVES:
        for name, constraint in (("bare", {}), ("spectral", {"spectral": "true"})):
            options = {"objective": objective} | constraint
            if tuple(sorted(options.items())) not in known:
                found.append(row("dcgan", f"{objective}, {name}", options, 0))
    return found


def rows() -> list[Row]:
    """All of them: the first seed of all, then the second."""
    return sorted([*named(), *slow(), *every()], key=lambda row: row.seed)


def judge(run: Path) -> dict[str, Any]:
    """The scores at the last step, and the curve of FID."""
    found = simulacra.evaluate(run, metrics=("precision", "recall"), features="mnist", quiet=True).scores
    path = curve(run, "fid")
    return {name: score.value for name, score in found.items()} | {"fid": path[-1][1], "curve": path}


def lines(table: Table, rows: list[Row]) -> list[list[object]]:
    """A line per configuration: FID and its ratio of each finished seed, mean precision and recall, the first curve."""
    done, found = table.done(), {}
    for one in rows:
        if one.key in done:
            found.setdefault(one.key.rsplit("-", 1)[0], []).append(done[one.key])
    return [[name.replace("_", " "), *_told(seeds)] for name, seeds in found.items()]


def _told(seeds: list[dict[str, Any]]) -> list[str]:
    whole = [seed for seed in seeds if "fid" in seed]
    if not whole:
        return [failure(seeds[0]), *["-"] * 4]
    return [*_scores(whole), _curve(whole[0]["curve"])]


def _scores(seeds: list[dict[str, Any]]) -> list[str]:
    fids = " / ".join(f"{seed['fid']:.2f}" for seed in seeds)
    best = [min(value for _, value in seed["curve"]) for seed in seeds]
    ratios = " / ".join(f"{seed['fid'] / least:.2f}" for seed, least in zip(seeds, best))
    return [fids, ratios, *(f"{mean(seed[name] for seed in seeds):.3f}" for name in ("precision", "recall"))]


def _curve(points: list[list[float]]) -> str:
    return " ".join(f"{value:.3g}" for _, value in points)


def main() -> None:
    given = arguments(__doc__).parse_args()
    todo, table = chosen(rows(), given.only), Table("objectives", rows(), judge)
    if given.plan:
        return plan(todo)
    if not given.show:
        table.run(given.out / "objectives", given.jobs, todo, given.seconds)
    scores = ["FID (each seed)", "final / best", "mean precision", "mean recall"]
    head = ["configuration", *scores, f"FID every {STEPS // 10} steps, seed 0"]
    write("objectives-named", markdown(head, lines(table, named())))
    write("objectives-slow", markdown(head, lines(table, slow())))
    write("objectives-every", markdown(head, lines(table, every())))


if __name__ == "__main__":
    main()
