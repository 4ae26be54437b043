"""Held-out images inverted by models of them, against the nearest training images.

    SIMULACRA_DATA=... OMP_NUM_THREADS=1 python benchmarks/inversion.py RUN [RUN ...] --out docs/images/inversion.png

Inverts 64 rows of the test split of the first run's data, drawn by seed 0, by each run; prints the mean squared error
per pixel, on the scale [−1, 1], of inversions, of reconstructions where the model encodes, and of the training image
that is nearest in pixels; in how many of the 64 the inversion is nearer than that; and the length of the latents
found against that of the prior's draws. The figure has in turn rows of originals, of each run's inversions, and of
nearest training images, of the first 16 rows.
"""

import argparse
import time

import numpy as np
import torch

from simulacra import images
from simulacra.capabilities import HasPrior, Reconstructs
from simulacra.data import Source
from simulacra.explore.inversion import Inversion, InversionConfig, invert
from simulacra.explore.operands import rows
from simulacra.metrics.distances import nearest
from simulacra.subjects import of_model

SHOWN, COLUMNS = 16, 16


def errors(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each row."""
    return (a.cpu() - b.cpu()).flatten(1).square().mean(1)


def line(name: str, found: torch.Tensor, rival: torch.Tensor) -> str:
    standard_error = found.std().item() / len(found) ** 0.5
    nearer = f"nearer than the nearest training image in {(found < rival).sum().item()} of {len(found)}"
    return f"{name:<40} {found.mean().item():.4f} ± {standard_error:.4f}   {nearer}"


def nearest_training(x: torch.Tensor, train: Source) -> torch.Tensor:
    """The training images nearest to `x` in pixels."""
    reference = rows(train, np.arange(len(train)))
    index = nearest(x.flatten(1), reference.flatten(1), 1).indices[:, 0]
    return reference[index]


def report(run: str, model: object, found: Inversion, x: torch.Tensor, rival: torch.Tensor) -> None:
    print(line(f"{run}: inversion", found.errors.cpu(), rival))
    if isinstance(model, Reconstructs):
        print(line(f"{run}: reconstruction", errors(model.reconstruct(x), x), rival))
    if isinstance(model, HasPrior):
        lengths = [z.norm(dim=1).mean().item() for z in (found.latents, model.prior(1000))]
        print(f"{'':<40} latents of mean length {lengths[0]:.2f}, the prior's {lengths[1]:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--out")
    parser.add_argument("-n", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--pull", type=float, default=0.0)
    given = parser.parse_args()
    subjects = [of_model(run, torch.device("cpu")) for run in given.runs]
    data = subjects[0].trained_on
    if data is None:
        raise SystemExit(f"{given.runs[0]} is no run that knows its data")
    test = data.open("test")
    x = rows(test, np.sort(np.random.default_rng(0).choice(len(test), given.n, replace=False)))
    closest = nearest_training(x, data.open("train"))
    rival = errors(closest, x)
    print(f"{len(x)} test images of {data.word}, {given.starts} starts of {given.steps} steps, pull {given.pull:g}")
    print(f"{'nearest training image':<40} {rival.mean().item():.4f} ± {rival.std().item() / len(x) ** 0.5:.4f}")
    shown = [x]
    for run, subject in zip(given.runs, subjects):
        began = time.monotonic()
        model = subject.model
        assert model is not None
        settings = {"steps": given.steps, "starts": given.starts, "pull": given.pull}
        config = InversionConfig.read(settings, "inversion")
        found = invert(model, x, config)  # type: ignore[arg-type]
        report(run, model, found, x, rival)
        print(f"{'':<40} {time.monotonic() - began:.0f} s on {torch.get_num_threads()} threads", flush=True)
        shown.append(found.images.cpu())
    if given.out:
        images.write_grid(torch.cat([part[:SHOWN] for part in [*shown, closest]]), given.out, COLUMNS)


if __name__ == "__main__":
    main()
