"""Does training on and on spoil a GAN? The recommended recipe, the same with penalties that fade further, and the bare
non-saturating game, 33 to 44 minutes each on one core.

    SIMULACRA_DATA=... python -m benchmarks.endurance [--out runs] [--jobs 2] [--plan] [--show]

All on MNIST with DCGAN's networks of base width 16, batches of 64, 80 000 generator steps (85 passes over the data).
FID of 10 000 samples against the training images, in the features of `mnist`, at ten equally spaced steps: what counts
is the last against the best.

Counted by `--plan` on one core of an Intel Xeon: 1.85 GFLOP a step of *rpgan* and 1.53 of *dcgan*, 0.9 to 1.9 hours a
row.
"""

from pathlib import Path
from typing import Any

import simulacra
from benchmarks.tables import Row, Table, conduct, curve, markdown

STEPS = 80_000
WATCH = {"evaluate": "fid", "evaluate_features": "mnist", "evaluate_every": str(STEPS // 10)}
RECIPES = {
    "recommended": ("rpgan", {"width": "16"}),
    "faded": ("rpgan", {"width": "16", "fade": "0.01"}),
    "non-saturating": ("dcgan", {"width": "16"}),
}


def rows() -> list[Row]:
    """All, seed 0."""
    return [Row(name, recipe, "mnist", STEPS, options, 0, WATCH) for name, (recipe, options) in RECIPES.items()]


def judge(run: Path) -> dict[str, Any]:
    """The curve of FID, and precision and recall at its end."""
    found = simulacra.evaluate(run, metrics=("precision", "recall"), features="mnist", quiet=True).scores
    return {name: score.value for name, score in found.items()} | {"fid": curve(run, "fid")}


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per recipe."""
    found = []
    for row in rows():
        ours = done.get(row.key, {})
        if "fid" in ours:
            values = [value for _, value in ours["fid"]]
            path = " ".join(f"{value:.3g}" for value in values)
            precision, recall = ours["precision"], ours["recall"]
            scores = [f"{values[-1]:.3f}", f"{min(values):.3f}", f"{values[-1] / min(values):.2f}"]
            found.append([f"`{ours['command']}`", *scores, f"{precision:.3f}", f"{recall:.3f}", path, ours["seconds"]])
    return found


HEAD = ["command", "FID", "best", "ratio", "precision", "recall", f"FID every {STEPS // 10} steps", "seconds"]

if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("endurance", rows(), judge), lambda done: markdown(HEAD, lines(done)))
