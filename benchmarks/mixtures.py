"""Gaussians on MNIST, set in closed form: *gnb*, and *gmm* by three roads.

    SIMULACRA_DATA=... python -m benchmarks.mixtures [--out runs] [--jobs 2] [--only gnb ...] [--plan] [--show]

A Gaussian of independent pixels for each class, by two passes over the 60 000 training images; ten Gaussians of any
covariance by ten passes of EM, and by one with an M step after every batch of 4 096; a hundred of independent pixels by
a hundred passes. log p(x) is of the density at the 10 000 test images' levels in [−1, 1], to which no noise is added:
pixels that never vary raise it, each by some 2.5 nats down to the floor of *gmm*, by 9.5 down to that of *gnb*, so nats
compare between rows of *gmm* alone. Both compute in float64. The median stands beside the mean, which one pixel that no
image of a class had lit can decide. FID is of 10 000 samples against the training images, in the features of `mnist`.
The figure shows samples.

`--plan` counts what a batch costs, not the start nor what ends a pass. With ten covariances of 784 × 784 a batch is
some 0.1 TFLOP in float64.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, draw_strips, markdown, pictured
from simulacra.data import open_data
from simulacra.data.batch import to_unit
from simulacra.models.gnb import GNB

BATCHES, SHOWN = 15, 20
MODELS = {
    "gnb": ("gnb", 2, {}),
    "gmm": ("gmm", 10, {"components": "10"}),
    "gmm-stepwise": ("gmm", 1, {"components": "10", "em": "stepwise"}),
    "gmm-diagonal": ("gmm", 100, {"components": "100", "covariance": "diagonal"}),
}
HEAD = ["model", "log p(x), nats", "median", "classified rightly", "FID", "passes", "seconds", "command"]


def rows() -> list[Row]:
    """One of each."""
    starts = {"gnb": 0, "gmm": 1}  # steps before the first pass
    return [
        Row(key, kind, "mnist", starts[kind] + BATCHES * passes, options)
        for key, (kind, passes, options) in MODELS.items()
    ]


def judge(run: Path) -> dict[str, Any]:
    """log p of all test images, how many *gnb* names rightly, and FID."""
    model: Any = simulacra.load(run)
    data = open_data("mnist", split="test")
    assert isinstance(data.data, Tensor)
    x, labels = to_unit(data.data), torch.as_tensor(data.labels)
    values = model.log_prob(x).value
    fid = simulacra.evaluate(run, metrics=("fid",), features="mnist", samples=10_000, quiet=True).scores["fid"]
    found = {"log_prob": values.mean().item(), "error": values.std().item() / len(values) ** 0.5, "fid": fid.value}
    found["median"] = values.median().item()
    named = (model.classify(x).argmax(1) == labels).float().mean().item() if isinstance(model, GNB) else None
    return found | {"classified": named}


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per finished model."""
    found = []
    for key, (_, passes, _) in MODELS.items():
        if "fid" in (row := done.get(key, {})):
            nats = f"{row['log_prob']:.0f} ± {row['error']:.0f}", f"{row['median']:.0f}"
            named = "-" if row["classified"] is None else f"{row['classified']:.1%}"
            found.append([key, *nats, named, f"{row['fid']:.1f}", passes, row["seconds"], f"`{row['command']}`"])
    return found


def picture(folder: Path) -> None:
    """Draw samples of every model whose run is there."""
    runs = {key: folder / key for key in MODELS if (folder / key / "model").exists()}
    drawn: list[tuple[str, Tensor]] = []
    for key, run in runs.items():
        model: Any = simulacra.load(run)
        drawn.append((key, model.sample(SHOWN)))
    if drawn:
        draw_strips(drawn, ROOT / "docs" / "images" / "mixtures-samples.png")


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table and the figure."""
    return "\n\n".join([markdown(HEAD, lines(done)), *pictured("mixtures", ["samples"], "of each model")])


if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("mixtures", rows(), judge), text, finish=picture)
