"""Where the Markov chains of *dae* and *gsn* go on MNIST: which digits they visit, and how good their samples are.

    SIMULACRA_DATA=... python -m benchmarks.chains [--out runs] [--jobs 2] [--only gsn ...] [--plan] [--show]

Each row is a `simulacra train` command of 20 000 updates in batches of 128; the denoising autoencoder once without
walkback; the stochastic network with noise of deviation 2 in its upper layer alone, and with 0.3 in both. Ten chains of
1 000 transitions start from black; the classifier `mnist` (99.57 % on test images) sees every state, and those that it
is at least 90 % sure of count. For each chain: how many of the ten digits it visits, being read as the digit at all, or
five times in a row or more (noise can be read surely too, but not for long), and how often in 100 transitions the digit
changes. "Hot" is the chain of the row before with 1.5 times the noise in its hidden layers; its training had less.
FID is of 2 000 samples (the last states of chains of 100 transitions) against the 60 000 training images, in the
features of `mnist`. Noise left is what *dae* makes of the 10 000 test images once it has corrupted them: the mean of
‖x − x̂‖², brightness in [0, 1], in parts of that of the corrupted. The figures show the first two chains of each row, at
every tenth transition, and test images, corrupted and denoised.

Counted by `--plan` on one thread of an AMD EPYC in float32 with AVX2: dae 7.1 GFLOP a step and 1.0 h, without walkback
1.8 and 0.25 h, gsn 9.4 and 1.1 h.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import simulacra
from benchmarks.digits import read_digits
from benchmarks.tables import ROOT, Row, Table, conduct, markdown, pictured
from simulacra import figures, images
from simulacra.capabilities import Corrupts
from simulacra.data import open_data
from simulacra.data.batch import to_unit

STEPS, CHAINS, LENGTH, SAMPLES, SURE, STAY, SHOWN = 20_000, 10, 1000, 2000, 0.9, 5, 30
HEAT = 1.5  # noise of a hot chain, in parts of that of training
MODELS = {
    "dae": ("dae", {"width": "1000", "depth": "1"}),
    "dae without walkback": ("dae", {"width": "1000", "depth": "1", "walkback": "1"}),
    "gsn": ("gsn", {"hidden": "1000,1000", "noise": "0,2"}),
    "gsn with little noise": ("gsn", {"hidden": "1000,1000", "noise": "0.3"}),
}
HEAD = [
    "model",
    "digits visited, each chain",
    "read five times in a row",
    "by all chains",
    "changes in 100 steps",
    "sure",
    "FID",
    "noise left",
    "seconds",
    "command",
]


def rows() -> list[Row]:
    """One of each."""
    return [Row(key(name), kind, "mnist", STEPS, own) for name, (kind, own) in MODELS.items()]


def key(name: str) -> str:
    """Of a model's row."""
    return name.replace(" ", "-")


def read(chains: Tensor, model: Any) -> Tensor:
    """The digit of every state `[n, steps]`, −1 where the classifier is not sure."""
    sure, digits = read_digits(model, chains.flatten(0, 1)).max(1)
    return torch.where(sure >= SURE, digits, -1).unflatten(0, chains.shape[:2])


def visits(digits: Tensor) -> dict[str, Any]:
    """What `[n, steps]` digits, −1 where unknown, say of the chains."""
    known = [row[row >= 0] for row in digits]
    changes = sum(int((row.diff() != 0).sum()) for row in known)
    visited, sure = [stays(row) for row in digits], (digits >= 0).double().mean().item()
    return {
        "once": [len(row.unique()) for row in known],
        "each": [*map(len, visited)],
        "all": len(set().union(*visited)),
        "changes": 100 * changes / digits.numel(),
        "sure": sure,
    }


def stays(digits: Tensor) -> set[int]:
    """The digits that are read at least `STAY` times in a row, −1 being none."""
    kinds, lengths = digits.unique_consecutive(return_counts=True)
    return {*kinds[lengths >= STAY].tolist()} - {-1}


def judge(run: Path) -> dict[str, Any]:
    """Visits of the chains, and FID."""
    model: Any = simulacra.load(run)
    found = simulacra.evaluate(run, metrics="fid", features="mnist", samples=SAMPLES, quiet=True)
    row = visits(read(model.chain(CHAINS, LENGTH, seed=1), model)) | {"fid": found.scores["fid"].value}
    if isinstance(model, Corrupts):
        return row | denoising(model)
    return row | {"hot": visits(read(heated(model).chain(CHAINS, LENGTH, seed=1), model))}


def denoising(model: Corrupts) -> dict[str, list[float]]:
    """Mean ‖x − x̂‖² of test images, corrupted and denoised, brightness in [0, 1]."""
    data = open_data("mnist", split="test")
    x = to_unit(data.rows(np.arange(len(data))))
    noisy = model.corrupt(x)
    errors = (0.25 * (y - x).square().flatten(1).sum(1) for y in (noisy, model.reconstruct(noisy)))
    return {"denoising": [error.mean().item() for error in errors]}


def picture(folder: Path) -> None:
    """Draw a row of states for each chain of the models that are there."""
    for row in rows():
        if (folder / row.key / "model").exists():
            model: Any = simulacra.load(folder / row.key)
            draw(model, row.key)
            if row.key == "gsn":
                draw(heated(model), "gsn-hot")
            if row.key == "dae":
                place = ROOT / "docs" / "images" / "dae-denoised.png"
                figures.write(model, open_data("mnist", split="test"), lambda _, place=place: place, 0, ["denoised"])


def draw(model: Any, name: str) -> None:
    """Every tenth state of two chains."""
    states = model.chain(2, 10 * SHOWN, seed=1)[:, ::10].flatten(0, 1)
    images.write_grid(states.cpu(), ROOT / "docs" / "images" / f"chains-{name}.png", SHOWN)


def heated(model: Any) -> Any:
    """A *gsn* with more noise in its hidden layers."""
    model.noise = tuple(HEAT * noise for noise in model.noise)
    return model


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per model."""
    found = []
    for name in MODELS:
        if "each" in (row := done.get(key(name), {})):
            noisy, denoised = row.get("denoising", (0.0, 0.0))
            left = f"{denoised / noisy:.1%} of {noisy:.0f}" if noisy else "-"
            found.append([name, *moves(row), f"{row['fid']:.2f}", left, row["seconds"], f"`{row['command']}`"])
            found += [[f"{name}, hot", *moves(row["hot"]), *["-"] * 4]] if "hot" in row else []
    return found


def moves(row: dict[str, Any]) -> list[object]:
    """What `visits` found, in words."""
    each = [" ".join(map(str, row[kind])) for kind in ("once", "each")]
    return [*each, row["all"], f"{row['changes']:.1f}", f"{row['sure']:.2f}"]


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table and the figures."""
    keys = [row.key for row in rows() if row.key in done]
    shown = pictured("chains", [*keys, *["gsn-hot"] * ("gsn" in done)], "means at every tenth transition of two chains")
    return "\n\n".join([markdown(HEAD, lines(done)), *shown])


def main() -> None:
    conduct(__doc__, lambda out: Table("chains", rows(), judge), text, finish=picture)


if __name__ == "__main__":
    main()
