"""Posteriors of four points in the plane: *vae*, whose are Gaussian, and *avb*, whose have any shape.

    python -m benchmarks.toy_posterior [--out runs] [--jobs 2] [--only avb] [--plan] [--show]

Data after the synthetic example of Mescheder et al. (2017), whose four images are of 2 × 2 pixels: four of 4 × 4, one
quarter of each white, equally often, so that no model has more than −log 4 nats. Two latents; decoder and trunk of the
encoder alike, two hidden layers of 128 units; 10 000 updates in batches of 128 at each recipe's own rates. log p(x) is
exact up to the sum over a grid of 801 × 801 points on [-6, 6]² that stands for the integral. The figure has 4 000 draws
of q(z|x) for each of the images, one colour each, and the prior's circles of one and two standard deviations.

Counted by `--plan` on one core of an Intel Xeon: vae 0.03 GFLOP a step and 0.02 h, avb 0.36 and 0.13 h.
"""

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, markdown
from simulacra.models.avb import AVB
from simulacra.models.vae import VAE

STEPS, SHOWN = 10_000, 4_000
CORNERS = 2.0 * torch.eye(4).reshape(4, 1, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3) - 1.0
DATA = "four.npz"
MODELS = {
    "vae": {"latent": "2", "width": "128"},
    "vae, full covariance": {"latent": "2", "width": "128", "covariance": "full"},
    "avb": {"latent": "2", "width": "128", "ratio_width": "128"},
}


def rows(folder: Path) -> list[Row]:
    """One of each; their data lies in `folder`."""
    data = f"npz:{folder / DATA}"
    return [
        Row(name.replace(", ", "-").replace(" ", "-"), name.split(",")[0], data, STEPS, own)
        for name, own in MODELS.items()
    ]


def prepare(folder: Path) -> None:
    """A file of the four images, 250 times each."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = (127.5 * (CORNERS + 1)).to(torch.uint8).repeat(250, 1, 1, 1)
    np.savez(folder / DATA, images=pixels.permute(0, 2, 3, 1).numpy())


def drawn(model: VAE | AVB, n: int) -> Tensor:
    """z ~ q(z|x) `[4, n, 2]` of the four images."""
    x = model.likelihood.unit(CORNERS).repeat_interleave(n, 0)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        if isinstance(model, VAE):
            return model.posterior(x).at(torch.randn(len(x), 2, generator=noise)).view(4, n, 2)
        shape = model.config.basis, model.config.basis_noise
        return model.drawn(x, torch.randn(len(x), *shape, generator=noise))[0].view(4, n, 2)


def log_p(model: Any) -> Tensor:
    """log p(x) `[4]` in nats."""
    axis = torch.linspace(-6, 6, 801)
    z = torch.cartesian_prod(axis, axis)
    prior = -0.5 * z.double().square().sum(1) - log(2 * torch.pi) + 2 * log(12 / 800)
    with torch.no_grad():
        likelihoods = [model.likelihood_of(CORNERS[k : k + 1])(z[None])[0].double() for k in range(4)]
    return torch.stack([(prior + one).logsumexp(0) for one in likelihoods])


def judge(run: Path) -> dict[str, Any]:
    """log p(x), and how well draws of the posterior reconstruct."""
    model: Any = simulacra.load(run)
    z = drawn(model, 1000)
    with torch.no_grad():
        lost = [-model.likelihood_of(CORNERS[k : k + 1])(z[k : k + 1]).mean().item() for k in range(4)]
    return {"log_p": log_p(model).tolist(), "lost": lost}


def picture(folder: Path) -> None:
    """The figure of all models that are there."""
    there = [name for name in (row.key for row in rows(folder)) if (folder / name / "model").exists()]
    figure = Figure(figsize=(3.6 * len(there), 3.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(there), squeeze=False)[0], there):
        for z in drawn(simulacra.load(folder / name), SHOWN):  # type: ignore[arg-type]
            axes.scatter(*z.T, s=1.5, alpha=0.25, linewidths=0)
        around = torch.linspace(0, 2 * torch.pi, 200)
        for radius in (1, 2):
            axes.plot(radius * around.cos(), radius * around.sin(), color="grey", lw=0.7)
        axes.set(title=name.replace("-", " "), aspect="equal", xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), xticks=[], yticks=[])
    figure.savefig(ROOT / "docs" / "images" / "toy-posterior.png", dpi=110, bbox_inches="tight")


def text(done: dict[str, dict[str, Any]]) -> str:
    """A line per finished model, and the figure."""
    head = ["posterior", "mean log p(x), nats", "short of −log 4", "−log p(x\\|z) at z ~ q(z\\|x)", "seconds"]
    found = []
    for name, row in done.items():
        mean, lost = sum(row["log_p"]) / 4, sum(row["lost"]) / 4
        found.append(
            [
                name.replace("-", " "),
                f"{mean:.3f}".replace("-", "−"),
                f"{-log(4) - mean:.3f}",
                f"{lost:.3f}",
                row["seconds"],
            ]
        )
    figure = '<img src="images/toy-posterior.png" width="720" alt="draws of the posteriors of four images">'
    return f"{markdown(head, found)}\n\n{figure}"


def table(out: Path) -> Table:
    """The table, its data made."""
    prepare(folder := out / "toy-posterior")
    return Table("toy-posterior", rows(folder), judge)


if __name__ == "__main__":
    conduct(__doc__, table, text, finish=picture)
