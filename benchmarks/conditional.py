"""Digits on demand: *cgan*, *acgan* and *projection* on MNIST.

    SIMULACRA_DATA=... python -m benchmarks.conditional [--out runs] [--jobs 2] [--only acgan ...] [--plan] [--show]

Each row is `simulacra train RECIPE` on DCGAN's networks of base width 32, seed 0, batches of 64, for 13 125 steps, the
recipes' own budget (at half their width), at a constant rate of 10⁻³ for both players, that of the faster rows of
stacked MNIST, and otherwise as it comes: *projection* with its hinge loss, spectral norm and β = (0, 0.9). Nothing was
tuned. Judged at the last step, the average of the generator's weights, on 10 000 samples of seed 0, whose classes are
drawn uniformly, against the 60 000 training images, in the features of `mnist`: class accuracy is the share of samples
that its classifier (99.57 % on test images) takes for the class they were asked for; FID; intra-FID, the mean over
classes of the distance to the training images of that class, about 1 000 samples each and so biased upward.

None of the papers has such a table: Mirza & Osindero report Parzen windows of perceptrons on MNIST (132 nats); Odena et
al. and Miyato & Koyama train on ImageNet at 128 pixels, the latter with residual networks and five steps of the
discriminator to one of the generator, which are one to one here.

The figure shows ten samples of every class, one class per column, of each recipe.
"""

from pathlib import Path
from typing import Any

import matplotlib
import torch

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, curve, draw_images, markdown
from simulacra.judging import evaluate

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STEPS, SAMPLES, CLASSES, EACH = 13_125, 10_000, 10, 10
RECIPES = ("cgan", "acgan", "projection")
OPTIONS = {"width": "32", "generator.lr": "1e-3", "discriminator.lr": "1e-3"}
WATCH = {"evaluate": "fid", "evaluate_features": "mnist", "evaluate_every": str(STEPS // 10)}
SCORES = ("class_accuracy", "fid", "intra_fid")
PICTURE = ROOT / "docs" / "images" / "conditional.png"
HEAD = ["command", "class accuracy (bar: 0.97)", "FID", "intra-FID", f"FID every {STEPS // 10} steps", "seconds"]


def rows() -> list[Row]:
    """Every recipe, seed 0."""
    return [Row(f"{recipe}-0", recipe, "mnist", STEPS, OPTIONS, 0, WATCH) for recipe in RECIPES]


def judge(run: Path) -> dict[str, Any]:
    """The scores of the finished run, the error of its accuracy, and FID along the training."""
    scores = evaluate(run, metrics=SCORES, features="mnist", samples=SAMPLES).scores
    found = {name: scores[name].value for name in SCORES}
    return found | {"error": scores["class_accuracy"].standard_error, "curve": curve(run, "fid")}


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per recipe."""
    found = []
    for row in rows():
        if (ours := done.get(row.key)) and "fid" in ours:
            path = " ".join(f"{value:.3g}" for _, value in ours["curve"])
            share = f"{ours['class_accuracy']:.4f} ± {ours['error']:.4f}"
            distances = f"{ours['fid']:.2f}", f"{ours['intra_fid']:.2f}"
            found.append([f"`{ours['command']}`", share, *distances, path, ours["seconds"]])
    return found


def picture(folder: Path) -> None:
    """Draw the figure, if all runs are there."""
    if not all((folder / row.key / "model").exists() for row in rows()):
        return
    figure, axes = plt.subplots(1, len(RECIPES), figsize=(12, 4.4), layout="constrained")
    for place, row in zip(axes, rows()):
        model: Any = simulacra.load(folder / row.key)
        images = model.sample_labelled(torch.arange(CLASSES).repeat(EACH), seed=0)
        draw_images(place, images, CLASSES, title=row.recipe)
    figure.savefig(PICTURE, dpi=90, bbox_inches="tight")
    plt.close(figure)


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table and the figure."""
    shown = '<img src="images/conditional.png" width="860" alt="ten samples of every digit by three recipes">'
    return "\n\n".join([markdown(HEAD, lines(done)), *([shown] if PICTURE.exists() else [])])


def main() -> None:
    conduct(__doc__, lambda out: Table("conditional", rows(), judge), text, finish=picture)


if __name__ == "__main__":
    main()
