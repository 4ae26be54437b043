"""The thousand modes of stacked MNIST: plain DCGAN, the same at five times the rate (constant, and falling
to zero), *rpgan*, and the faster one with packs of two (PacGAN).

    SIMULACRA_DATA=... python -m benchmarks.stacked [--out runs] [--jobs 2] [--plan] [--show]

Counting as VEEGAN's (Srivastava et al. 2017, section 4.2): 26 000 samples, each the number that a classifier of digits
(99.57 % on MNIST) reads in its three channels; KL is from the shares of the thousand numbers to the uniform law, and
26 000 perfect samples have 0.019 by chance. Data: 128 000 triples of training digits. Networks: DCGAN's of base width
32 at 28 × 28, z of 100 dimensions, batches of 64, the average of the generator's weights. `dcgan-longer` begins as
`dcgan-faster` does; its row was trained by going on from that run's last step, which gives the same bytes, and its
seconds are of both. Packs of two are of the same 64 images a step: 32 packs, where PacGAN's code takes
as many packs as others take images.

Counted by `--plan` on one core of an Intel Xeon, GFLOP a step and hours a row: 6.2 and 0.32, *rpgan* 7.5 and 0.44,
packs 4.3 and 0.33.
"""

from pathlib import Path
from typing import Any

from benchmarks.tables import Row, Table, conduct, curve, markdown

WATCH = {"evaluate": "modes", "evaluate_samples": "26000", "evaluate_every": "2000"}
STEPS = 10_000
FASTER = {"generator.lr": "1e-3", "discriminator.lr": "1e-3"}
FALLING = FASTER | {"schedule": "linear"}
RECIPES = {
    "dcgan": ("dcgan", STEPS, {}),
    "dcgan-faster": ("dcgan", STEPS, FASTER),
    "dcgan-longer": ("dcgan", 13_000, FASTER),
    "dcgan-falling": ("dcgan", STEPS, FALLING),
    "recommended": ("rpgan", STEPS, {}),
    "dcgan-packed": ("dcgan", STEPS, FASTER | {"pack": "2"}),
}


def rows() -> list[Row]:
    """All, seed 0."""
    return [
        Row(f"{name}-0", recipe, "stacked_mnist", steps, {"width": "32"} | options, 0, WATCH)
        for name, (recipe, steps, options) in RECIPES.items()
    ]


def judge(run: Path) -> dict[str, Any]:
    """Modes and KL along the training; the last is the table's."""
    return {"modes": curve(run, "modes"), "kl": curve(run, "mode_kl")}


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per method."""
    found = []
    for row in rows():
        if (ours := done.get(row.key)) and "modes" in ours:
            path = "; ".join(f"{int(m)}, {kl:.3f}" for (_, m), (_, kl) in zip(ours["modes"], ours["kl"]))
            (_, modes), (_, kl) = ours["modes"][-1], ours["kl"][-1]
            found.append([f"`{ours['command']}`", int(modes), f"{kl:.3f}", path, ours["seconds"]])
    return found


HEAD = ["command", "modes of 1000", "KL", "both every 2000 steps", "seconds"]

if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("stacked", rows(), judge), lambda done: markdown(HEAD, lines(done)))
