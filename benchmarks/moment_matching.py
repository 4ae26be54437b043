"""Moment matching networks by Parzen windows: GMMN and GMMN+AE on MNIST, by the protocol of Li, Swersky & Zemel (2015).

    SIMULACRA_DATA=... python -m benchmarks.moment_matching [--out runs] [--jobs 2] [--only data ...] [--plan] [--show]

Both train on the first 50 000 training images: 40 000 steps of 1000 rows and as many samples, z uniform in 10
dimensions, a generator of 64-256-256-1024 units, √MMD². In code space 40 000 steps of an autoencoder of 784-1024-32
units come first. Ours descend by Adam at 10⁻³ and a cosine, not by the original's momentum; its autoencoder was
pretrained layer by layer. Windows are put on 10 000 samples; sigma is the best of 21 from 0.1 to 0.3 for the next 5000
training images. Parzen windows are unreliable in so many dimensions, so FID in the features of `mnist` stands beside.

GFLOP of products per step, counted by hand: in data space 6.9 in the generator and 9.4 in MMD and its gradient, 650
TFLOP in all; in code space 2.3, 0.4, and 1.7 in the encoder, after as many steps of the autoencoder of 10.0 each, 580
TFLOP in all. `--plan` measures what a step of the first stage takes on the machine at hand.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import simulacra
from benchmarks.tables import Row, Table, conduct, markdown
from simulacra.data import open_data
from simulacra.metrics.measure import Seen, Side
from simulacra.metrics.parzen import Parzen, ParzenConfig

NAME, STEPS, TRAINED = "moment-matching", 40_000, 50_000
PAPER = {"data": "-", "code": "282 ± 2"}  # that of data space is not verified
WINDOWS = ParzenConfig(validation=5000, lowest=0.1, highest=0.3, sigmas=21)


def images(split: str, first: int, last: int) -> np.ndarray:
    """Images first … last−1 of MNIST, uint8 `[N, 28, 28]`."""
    return open_data("mnist", split=split).rows(np.arange(first, last))[:, 0].numpy()


def archive(folder: Path) -> Path:
    """Where the first 50 000 training images lie."""
    return folder / "first50000.npz"


def prepare(folder: Path) -> None:
    """Put them there, with the test images."""
    if not archive(folder).exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(archive(folder), images=images("train", 0, TRAINED), test_images=images("test", 0, 10_000))


def rows(folder: Path) -> list[Row]:
    """Both spaces, seed 0."""
    total = {"data": STEPS, "code": 2 * STEPS}
    word = f"npz:{archive(folder)}"
    return [Row(f"{space}-0", "gmmn", word, total[space], {"space": space}) for space in PAPER]


def pixels(array: np.ndarray) -> Tensor:
    """In [0, 1], float32 `[N, 784]`."""
    return torch.from_numpy(array).flatten(1).float() / 255


def judge(run: Path) -> dict[str, Any]:
    """The Parzen estimate, with its error and sigma, and FID."""
    measure = Parzen(WINDOWS)
    samples = simulacra.load(run).sample(WINDOWS.samples, seed=0)  # type: ignore[attr-defined]
    sides: dict[Side, Tensor] = {
        "real": pixels(images("test", 0, WINDOWS.rows)),
        "held_out": pixels(images("train", TRAINED, TRAINED + WINDOWS.validation)),
        "fake": (0.5 * (samples + 1)).flatten(1),
    }
    for side, data in sides.items():
        measure.update(side, Seen(torch.arange(len(data)), data))
    parzen = measure.compute()["parzen"]
    fid = simulacra.evaluate(run, metrics=("fid",), features="mnist", samples=10_000, quiet=True).scores["fid"]
    return {
        "parzen": parzen.value,
        "error": parzen.standard_error,
        "sigma": parzen.facts["sigma"],
        "notes": list(parzen.notes),
        "fid": fid.value,
    }


def text(done: dict[str, dict[str, Any]]) -> str:
    """A line per space."""
    lines = []
    for space, paper in PAPER.items():
        if (ours := done.get(f"{space}-0")) and "parzen" in ours:
            nats = f"{ours['parzen']:.1f} ± {ours['error']:.1f}"
            lines.append([f"`{ours['command']}`", nats, paper, f"{ours['sigma']:.3f}", f"{ours['fid']:.2f}"])
    return markdown(["command", "Parzen, nats", "the paper's", "sigma", "FID"], lines)


def make(out: Path) -> Table:
    """The table, for runs in `out`; the archive is there before anything is planned."""
    prepare(out / NAME)
    return Table(NAME, rows(out / NAME), judge)


if __name__ == "__main__":
    conduct(__doc__, make, text)
