"""What two latents learn, whole: planes of *vae* on MNIST and on Frey faces.

    SIMULACRA_DATA=... python -m benchmarks.manifolds [--out runs] [--jobs 2] [--only mnist ...] [--plan] [--show]

Each row is `simulacra train vae --latent 2` with the recipe's defaults, 20 000 updates in batches of 128 on MNIST and 3
000 on the 1 765 frames of one face to train on (217 passes: later ones learn the frames), of which the Gaussian
likelihood's σ is learned. The ELBO is of all test images, in nats: of bits on MNIST, a density on Frey faces. The test
frames are the last 200 of the film and unlike those before: after a pilot of 1 000 steps on 1 500 frames, 265 others of
the training part, drawn at random, had 230 nats, and those seen 271. Counted by what they took on one core of an AMD
EPYC: 260 s and 33 s.

The figure shows images decoded on a grid of equal probability, as Kingma & Welling (2014) have them in their figure 4:
what `simulacra explore manifold RUN --side 20` draws.
"""

from pathlib import Path
from typing import Any

import matplotlib

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, draw_images, markdown
from simulacra.explore.manifold import manifold

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SIDE, PICTURE = 20, ROOT / "docs" / "images" / "manifolds.png"
DATA = {
    "mnist": (20_000, {}),
    "frey_faces": (3_000, {"likelihood": "gaussian", "learned_sigma": "true"}),
}
HEAD = ["data", "ELBO of test images, nats", "seconds", "command"]


def rows() -> list[Row]:
    """A run on each set."""
    return [Row(data, "vae", data, steps, {"latent": "2"} | own) for data, (steps, own) in DATA.items()]


def judge(run: Path) -> dict[str, Any]:
    """The ELBO, with its standard error."""
    score = simulacra.evaluate(run, metrics="log_prob", quiet=True).scores["log_prob"]
    return {"elbo": [score.value, score.standard_error]}


def picture(folder: Path) -> None:
    """Draw the figure, if both are there."""
    if not all((folder / data / "model").exists() for data in DATA):
        return
    figure, axes = plt.subplots(1, len(DATA), figsize=(11, 6))
    for place, data in zip(axes, DATA):
        model: Any = simulacra.load(folder / data)
        draw_images(place, model.decode(manifold(model, SIDE).flatten(0, 1)), SIDE, title=data)
    figure.tight_layout(pad=0.6)
    figure.savefig(PICTURE, dpi=90)
    plt.close(figure)


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per set of data."""
    return [
        [data, "{:.2f} ± {:.2f}".format(*row["elbo"]), row["seconds"], f"`{row['command']}`"]
        for data in DATA
        if "elbo" in (row := done.get(data, {}))
    ]


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table and the figure."""
    shown = '<img src="images/manifolds.png" width="860" alt="images over a plane of two latents: digits, a face">'
    return "\n\n".join([markdown(HEAD, lines(done)), *([shown] if PICTURE.exists() else [])])


def main() -> None:
    conduct(__doc__, lambda out: Table("manifolds", rows(), judge), text, finish=picture)


if __name__ == "__main__":
    main()
