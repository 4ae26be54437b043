"""How robust objectives are to the architecture: the comparison of WGAN-GP's figure 2, as the lectures show it, on
MNIST.

    SIMULACRA_DATA=... python -m benchmarks.robustness [--out runs] [--jobs 2] [--plan] [--show]

Rows: DCGAN's networks; a generator without batch norm and with equally many channels everywhere; tanh everywhere in
both networks; a generator of perceptrons (4 layers of 512 units, ReLU, no batch norm). Columns: DCGAN (non-saturating),
LSGAN, WGAN with clipped weights (0.01), WGAN-GP (10; its critic has no batch norm). All alike: seed 0, 1 000 generator
steps, each after one of the discriminator, batches of 64, base width 16, Adam at 10⁻³ with β = (0.5, 0.999). At that
rate most units of the perceptrons are dead after 100 steps, so they have a second row, at 2·10⁻⁴. FID is of 10 000
samples against the training images, in the features of `mnist`.

Counted by `--plan` on one core of an Intel Xeon: 1.6 to 2.4 GFLOP a step, 0.3 hours for all twenty rows.
"""

from pathlib import Path
from typing import Any

import matplotlib
import torch

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, curve, failure, markdown

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STEPS = 1_000
WATCH = {"evaluate": "fid", "evaluate_features": "mnist", "evaluate_every": str(STEPS)}
SLOWER = {"generator.lr": "2e-4", "discriminator.lr": "2e-4"}
ARCHITECTURES = {
    "baseline": {},
    "G without batch norm, constant channels": {"generator_norm": "none", "constant": "true"},
    "tanh everywhere": {"activation": "tanh"},
    "perceptrons as G": {"generator_network": "mlp", "generator_norm": "none"},
    "perceptrons as G, slower": {"generator_network": "mlp", "generator_norm": "none"} | SLOWER,
}
OBJECTIVES = {
    "DCGAN": {"objective": "non-saturating"},
    "LSGAN": {"objective": "least-squares"},
    "WGAN (clipping)": {"objective": "wasserstein", "clip": "0.01"},
    "WGAN-GP": {"objective": "wasserstein", "gradient_penalty": "10", "discriminator_norm": "none"},
}
SHARED = {"width": "16", "generator.lr": "1e-3", "discriminator.lr": "1e-3"}
PICTURE = ROOT / "docs" / "images" / "robustness.png"


def key(architecture: str, objective: str) -> str:
    """The row's name, also its folder's."""
    return "".join(letter if letter.isalnum() else "_" for letter in f"{architecture} {objective}")


def rows() -> list[Row]:
    """All architectures under all objectives."""
    return [
        Row(key(architecture, objective), "dcgan", "mnist", STEPS, SHARED | network | game, 0, WATCH)
        for architecture, network in ARCHITECTURES.items()
        for objective, game in OBJECTIVES.items()
    ]


def judge(run: Path) -> dict[str, Any]:
    """FID at the last step."""
    return {"fid": curve(run, "fid")[-1][1]}


def picture(folder: Path) -> None:
    """Sixteen samples of every model, as on the slide."""
    figure, axes = plt.subplots(len(ARCHITECTURES), len(OBJECTIVES), figsize=(8, 10.4))
    for line, architecture in zip(axes, ARCHITECTURES):
        for place, objective in zip(line, OBJECTIVES):
            run = folder / key(architecture, objective)
            if run.exists():
                x = simulacra.load(run).sample(16, seed=0)[:, 0].unflatten(0, (4, 4))
                place.imshow(torch.cat([torch.cat([*part], 1) for part in x]), cmap="gray", vmin=-1, vmax=1)
            place.set(xticks=[], yticks=[])
    for place, objective in zip(axes[0], OBJECTIVES):
        place.set_title(objective, fontsize=9)
    for place, architecture in zip(axes[:, 0], ARCHITECTURES):
        place.set_ylabel(architecture.replace(", ", ",\n"), fontsize=7)
    figure.tight_layout(pad=0.4)
    figure.savefig(PICTURE, dpi=90)


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """FID of every pair."""
    found = []
    for architecture in ARCHITECTURES:
        cells = [done.get(key(architecture, objective), {}) for objective in OBJECTIVES]
        found.append([architecture, *(f"{c['fid']:.1f}" if "fid" in c else failure(c) for c in cells)])
    return found


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table, and the picture below it."""
    below = '<img src="images/robustness.png" width="620" alt="sixteen samples of every pair">'
    return f"{markdown(['FID', *OBJECTIVES], lines(done))}\n\n{below}"


if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("robustness", rows(), judge), text, finish=picture)
