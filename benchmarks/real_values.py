"""Whether hidden units explain real values: *rbm* with Gaussian visible units on small grey pictures of CIFAR-10.

    SIMULACRA_DATA=... python -m benchmarks.real_values [--out runs] [--jobs 2] [--only learned ...] [--plan] [--show]

16 × 16 pixels of 15 000 training images, 200 hidden units, 20 000 updates in batches of 100 by PCD-1, the recipe's own
rate; with deviations that are learned from the data's own on, as they come, and with such that stay there, or at half
of it. log p(x) of 1 000 evenly spaced test images (they are sorted by class) is of brightness in [−1, 1], log Z by
annealed importance sampling along the 14 500 steps of Salakhutdinov & Murray (2008), 100 chains. Beside it stands what
one Gaussian of independent pixels has, which is the machine without hidden units at its best. Deviations of samples are
means over pixels, in units of the training images'. The figure shows samples, their means E[v|h], and filters. Rates
and steps were not tuned.

Two minutes a row on one core of an AMD EPYC, and as much again for its annealing.
"""

from math import hypot, pi
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, draw_strips, failure, markdown, with_error
from simulacra.data import open_data
from simulacra.data.batch import to_unit

VIEW, STEPS, IMAGES, SHOWN = {"size": "16", "channels": "1"}, 20_000, 1000, 20
DEVIATIONS = {
    "learned": {},
    "the data's": {"learned_sigma": "false"},
    "half the data's": {"sigma": "0.5", "learned_sigma": "false"},
}
PICTURE = ROOT / "docs" / "images" / "real-values.png"
HEAD = ["deviations", "log p(x), nats", "of one Gaussian", "deviation of samples", "seconds", "command"]


def key_of(name: str) -> str:
    """A row's key, which is a folder's name too."""
    return name.replace("'", "").replace(" ", "-")


def rows() -> list[Row]:
    """One of each."""
    shared = {"visible": "gaussian", "hidden": "200"}
    return [Row(key_of(name), "rbm", "cifar10", STEPS, shared | own, run=VIEW) for name, own in DEVIATIONS.items()]


def pictures(split: str, count: int) -> Tensor:
    """So many evenly spaced images in [−1, 1]."""
    source = open_data("cifar10", split=split, size=(16, 16), channels=1)
    return to_unit(source.rows(np.arange(count) * len(source) // count))


def judge(run: Path) -> dict[str, Any]:
    """log p(x), that of independent pixels, and how far samples spread."""
    model: Any = simulacra.load(run)
    train, test = pictures("train", 15_000), pictures("test", IMAGES)
    mean, deviation = train.mean(0), train.std(0)
    alone = -0.5 * (((test - mean) / deviation).square() + (2 * pi * deviation.square()).log()).flatten(1).sum(1)
    log_z = model.partition()
    values = model.unnormalised(test) - log_z.value
    error = hypot((values.std() / len(values) ** 0.5).item(), log_z.standard_error)
    spread = (model.sample(1000).std(0) / deviation).mean().item()
    return {
        "log_prob": [values.mean().item(), error],
        "log_z": log_z.facts(),
        "alone": alone.tolist(),
        "spread": spread,
    }


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per finished row."""
    found = []
    for name in DEVIATIONS:
        row = done.get(key_of(name), {})
        if "log_prob" in row:
            scores = ["{:.1f} ± {:.1f}".format(*row["log_prob"]), with_error(row["alone"]), f"{row['spread']:.2f}"]
        elif "failed" in row:
            scores = [failure(row), "-", "-"]
        else:
            continue
        found.append([name, *scores, row["seconds"], f"`{row['command']}`"])
    return found


def picture(folder: Path) -> None:
    """Draw what the first row has learned, if it is there."""
    if not (folder / "learned" / "model").exists():
        return
    model: Any = simulacra.load(folder / "learned")
    samples = model.sample(SHOWN)
    panels = [
        ("test images", pictures("test", SHOWN)),
        ("samples", samples),
        ("their E[v|h]", model.reconstruct(samples)),
    ]
    draw_strips([*panels, ("filters", model.filters()[:SHOWN])], PICTURE)


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table and the figure."""
    shown = '<img src="images/real-values.png" width="640" alt="test images, samples, their means, filters">'
    return "\n\n".join([markdown(HEAD, lines(done)), *([shown] if PICTURE.exists() else [])])


if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("real-values", rows(), judge), text, finish=picture)
