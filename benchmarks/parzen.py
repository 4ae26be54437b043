"""Six generative models by Parzen windows, the first measure that compared such models across kinds, and by FID.

    SIMULACRA_DATA=... python -m benchmarks.parzen [--out runs] [--jobs 2] [--only gan ...] [--plan] [--show]

The original protocol (Breuleux, Bengio & Vincent 2011; counted as Goodfellow et al. 2014 do): all train on the first
50 000 training images, grey, in [0, 1]; windows are put on 10 000 samples; sigma is the best of 10 from 0.1 to 1 for
the next 1 000 training images; the score is the mean over the 10 000 test images, its error that of this mean. Beside
it is about what Li, Swersky & Zemel (2015) count by: the best sigma from 0.1 to 0.3 (of 21 in geometric steps, theirs
are linear) for the next 5 000 training images (theirs are drawn from all). Parzen windows are unreliable in so many
dimensions, so FID of the same samples' number against the 50 000 images, in the features of `mnist`, stands beside
both. For scale: 10 000 training images in the place of samples have 243.8 nats.

- `dbn`: 500-2000 units, each layer 50 000 steps of 100 rows by PCD-1, no fine-tuning; samples by 200 sweeps at the top.
- `dae`: a denoising autoencoder of two layers of 1 000 units above a code of 500 and two below, trained at once, with
  walkback. The published row is of a stacked contractive autoencoder, trained layer by layer.
- `gsn`: two layers of 1 000 units, noise in the upper one alone, with walkback. Both have 20 000 steps of 128 rows, and
  samples are the means of chains of 100 transitions.
- `gan`: the paper's layers, 1200-1200 units and 240-240 maxout units of 5 pieces with its dropout, 50 000 steps of 100
  rows; z uniform on [-1, 1], Adam whose rate falls to nothing in the place of momentum, and samples of the averaged
  weights. FID every 5 000 steps is watched, and nothing chosen by it.
- `gmmn-code` and `gmmn-data`: 35 000 and 10 000 steps of 1 000 rows and as many samples, z uniform in 10 dimensions,
  layers of 64, 256, 256 and 1024 units, √MMD². In code space 5 000 steps of an autoencoder of 784-1024-32 sigmoid units
  come first; it, and the kernels' widths, were chosen by windows on held-out training images. Adam at 10⁻³ and a cosine
  in the place of momentum; their autoencoder was pretrained layer by layer.

Counted by `--plan` on one thread of an AMD EPYC in float32 with AVX2; hours are half of those counted, as another
process shared the core: dbn 0.8 GFLOP a step and 0.7 h, dae 13.2 and 1.6, gsn 9.4 and 1.3, gan 3.6 and 1.2; counted
alone: gmmn-code 4.8 and 2.1 (its row took 1.3), gmmn-data 16.3 and 0.8.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import simulacra
from benchmarks.tables import Row, Table, conduct, markdown
from simulacra.data import open_data
from simulacra.metrics.measure import Score, Seen, Side
from simulacra.metrics.parzen import UNRELIABLE, Parzen, ParzenConfig

TRAINED = 50_000
ORIGINAL, VARIANT = ParzenConfig(), ParzenConfig(validation=5000, lowest=0.1, highest=0.3, sigmas=21)


class Kind(NamedTuple):
    """A row: the recipe, its steps and options, and the published figure."""

    recipe: str
    steps: int
    options: dict[str, str]
    published: str


GAN = {
    "prior": "uniform",
    "latent": "100",
    "width": "1200",
    "activation": "relu",
    "discriminator_width": "240",
    "maxout": "5",
    "dropout": "0.2,0.5,0.5",
    "batch": "100",
    "schedule": "linear",
}
WATCHED = {"evaluate": "fid", "evaluate_features": "mnist", "evaluate_every": "5000"}
KINDS = {
    "dbn": Kind("dbn", 100_000, {"hidden": "500,2000"}, "138 ± 2"),
    "dae": Kind("dae", 20_000, {"width": "1000", "latent": "500"}, "121 ± 1.6"),
    "gsn": Kind("gsn", 20_000, {"hidden": "1000,1000"}, "214 ± 1.1"),
    "gan": Kind("gan", 50_000, GAN, "225 ± 2"),
    "gmmn-code": Kind("gmmn", 40_000, {"space": "code", "autoencoder_share": "0.125"}, "282 ± 2"),
    "gmmn-data": Kind("gmmn", 10_000, {"space": "data"}, "-"),  # the published figure is not verified
}
HEAD = [
    "model", "Parzen, nats", "sigma", "published", "with 21 sigmas to 0.3", "sigma", "FID", "seconds", "command",
]  # fmt: skip


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


def rows(folder: Path = Path("runs/parzen")) -> list[Row]:
    """One of each, seed 0; the data lies in `folder`."""
    word = f"npz:{archive(folder)}"
    run = {"gan": WATCHED}
    return [Row(key, kind.recipe, word, kind.steps, kind.options, run=run.get(key, {})) for key, kind in KINDS.items()]


def pixels(array: np.ndarray) -> Tensor:
    """In [0, 1], float32 `[N, 784]`."""
    return torch.from_numpy(array).flatten(1).float() / 255


def judge(run: Path) -> dict[str, Any]:
    """Both Parzen estimates, [nats, error, sigma], what is to be said of them, and FID."""
    samples = simulacra.load(run).sample(ORIGINAL.samples, seed=0)
    fake = (0.5 * (samples + 1)).flatten(1).cpu()
    scores = [windowed(fake, config) for config in (ORIGINAL, VARIANT)]
    fid = simulacra.evaluate(run, metrics=("fid",), features="mnist", samples=10_000, quiet=True).scores["fid"]
    original, variant = ([score.value, score.standard_error, score.facts["sigma"]] for score in scores)
    return {"parzen": original, "variant": variant, "notes": list(scores[0].notes), "fid": fid.value}


def windowed(fake: Tensor, config: ParzenConfig) -> Score:
    """The estimate of samples `[N, 784]` in [0, 1]."""
    measure = Parzen(config)
    sides: dict[Side, Tensor] = {
        "real": pixels(images("test", 0, config.rows)),
        "held_out": pixels(images("train", TRAINED, TRAINED + config.validation)),
        "fake": fake,
    }
    for side, data in sides.items():
        measure.update(side, Seen(torch.arange(len(data)), data))
    return measure.compute()["parzen"]


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per model."""
    found = []
    for key, kind in KINDS.items():
        if "parzen" in (ours := done.get(key, {})):
            (value, error, sigma), (other, other_error, other_sigma) = ours["parzen"], ours["variant"]
            original = f"{value:.1f} ± {error:.1f}", f"{sigma:.3f}"
            variant = f"{other:.1f} ± {other_error:.1f}", f"{other_sigma:.3f}"
            last = f"{ours['fid']:.2f}", ours["seconds"], f"`{ours['command']}`"
            found.append([key, *original, kind.published, *variant, *last])
    return found


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table, and what is to be said of the measure and of its rows."""
    said = {f"{key}: {note}." for key, row in done.items() for note in row.get("notes", ()) if note != UNRELIABLE}
    return "\n\n".join([markdown(HEAD, lines(done)), f"{UNRELIABLE}.", *sorted(said)])


if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("parzen", rows(out / "parzen"), judge), text, prepare=prepare)
