"""Why an autoencoder cannot be sampled: *ae* beside *vae*, MNIST, with two latents and with twenty.

    SIMULACRA_DATA=... python -m benchmarks.autoencoders [--out runs] [--jobs 2] [--only ae ...] [--plan] [--show]

Each row is a `simulacra train` command with 20 000 updates in batches of 128, the recipes' defaults but for the number
of latents. An autoencoder has no law of codes, so two are tried: N(0, I), and the Gaussian with the mean and
covariance of the codes of 10 000 training images. FID is of 10 000 decoded draws against the 60 000 training images, in
features of `mnist`. The reconstruction error is the mean over test images of ‖x − x̂‖² with brightness in [0, 1].

Both learn brightness by cross-entropy, *ae* as it is and *vae* as bits drawn of it. Each took 4 minutes on one core of
an AMD EPYC.

The figure shows the two-dimensional rows: codes of 2 000 test images by class, circles of one standard deviation of the
VAE's posterior of 200 of them, which overlap, and images decoded from twenty draws of N(0, I).
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, draw_images, markdown
from simulacra import images
from simulacra.buffers import evaluating
from simulacra.randomness import sample_normal

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Ellipse

STEPS, LATENTS, SAMPLES, CODES = 20_000, (2, 20), 10_000, 10_000
PICTURE = ROOT / "docs" / "images" / "autoencoders.png"
HEAD = ["model", "latents", "reconstruction", "FID, N(0, I)", "FID, Gaussian of the codes", "seconds", "command"]


def rows() -> list[Row]:
    """Both models with each number of latents."""
    return [
        Row(f"{kind}-{latent}", kind, "mnist", STEPS, {"latent": str(latent)})
        for latent in LATENTS
        for kind in ("ae", "vae")
    ]


def unit(split: str, n: int) -> Tensor:
    """The first n images of a split, in [−1, 1]."""
    return simulacra.open_data("mnist", split=split).rows(np.arange(n)) / 127.5 - 1.0


def fitted(codes: Tensor, noise: Tensor) -> Tensor:
    """Standard normal `noise` `[n, J]` as draws of the Gaussian with the codes' mean and covariance; the covariance of
    codes that lie in a subspace is repaired by 10⁻⁶ on its diagonal."""
    covariance = torch.atleast_2d(codes.T.double().cov()) + 1e-6 * torch.eye(codes.shape[1]).double()
    law = MultivariateNormal(codes.double().mean(0), covariance)
    return (law.loc + noise.double() @ law.scale_tril.T).float()


def judge(run: Path) -> dict[str, Any]:
    """FID of draws of both laws, and the error on test images."""
    model: Any = simulacra.load(run)
    x, noise = unit("test", 10_000), sample_normal(SAMPLES, model.config.latent, seed=0)
    laws = {"fid_normal": noise, "fid_fitted": fitted(model.encode(unit("train", CODES)), noise)}
    error = (0.5 * (model.reconstruct(x) - x)).square().flatten(1).sum(1).mean().item()
    return {"reconstruction": error} | {name: fid(model.decode(z), model) for name, z in laws.items()}


def fid(samples: Tensor, model: Any) -> float:
    """Of images in [−1, 1], against MNIST's training images."""
    with TemporaryDirectory() as place:
        images.write(samples, f"{place}/samples.npz", model.spec)
        found = simulacra.evaluate(
            fake=f"npz:{place}/samples.npz", real="mnist", split="train", metrics="fid", features="mnist"
        )
        return found.scores["fid"].value


def picture(folder: Path) -> None:
    """Draw the figure, if both are there."""
    runs = [folder / f"{kind}-2" for kind in ("ae", "vae")]
    if not all((run / "model").exists() for run in runs):
        return
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), width_ratios=(1, 1.2))
    for (codes, drawn), run in zip(axes, runs):
        model: Any = simulacra.load(run)
        _map(codes, model, run.name.split("-")[0])
        z = model.prior(20) if hasattr(model, "prior") else sample_normal(20, 2, seed=0)
        draw_images(drawn, model.decode(z), 5, title="decoded draws of N(0, I)")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=90)
    plt.close(figure)


def _map(place: Any, model: Any, name: str) -> None:
    x, labels = unit("test", 2000), simulacra.open_data("mnist", split="test").labels
    assert labels is not None
    codes = model.encode(x)
    place.scatter(*codes.T, c=labels[:2000], cmap="tab10", s=4)
    place.set(title=f"{name}: codes of test images", aspect="equal")
    if not hasattr(model, "posterior"):
        return
    with evaluating(model):
        spread = (0.5 * model.posterior(model.likelihood.unit(x[:200])).log_variance).exp()
    for centre, width in zip(codes[:200].tolist(), spread.tolist()):
        place.add_patch(Ellipse(centre, 2 * width[0], 2 * width[1], fill=False, lw=0.4))


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per row."""
    found = []
    for row in rows():
        if "fid_normal" in (ours := done.get(row.key, {})):
            scores = [f"{ours[name]:.2f}" for name in ("reconstruction", "fid_normal", "fid_fitted")]
            found.append([row.recipe, row.options["latent"], *scores, ours["seconds"], f"`{ours['command']}`"])
    return found


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table and the figure."""
    shown = '<img src="images/autoencoders.png" width="860" alt="codes and decoded draws of an autoencoder and a VAE">'
    return "\n\n".join([markdown(HEAD, lines(done)), *([shown] if PICTURE.exists() else [])])


def main() -> None:
    conduct(__doc__, lambda out: Table("autoencoders", rows(), judge), text, finish=picture)


if __name__ == "__main__":
    main()
