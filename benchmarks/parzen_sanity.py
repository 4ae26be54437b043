"""Parzen-window log-likelihoods of "models" that have learned nothing, by the original protocol on MNIST.

    python benchmarks/parzen_sanity.py

As samples: 10 000 of the first 50 000 training images (drawn by seed 0), uniform noise, and a Gaussian for every pixel
with the mean and deviation it has on these images, clipped to [0, 1]. σ is chosen on the next 1000 training images.
"""

import time

import numpy as np
import torch
from torch import Tensor

from simulacra.data import open_data
from simulacra.metrics.measure import Score, Seen, Side
from simulacra.metrics.parzen import Parzen
from simulacra.randomness import generator


def pixels(split: str, first: int, last: int) -> Tensor:
    """Images first … last−1 in [0, 1], float32 `[N, 784]`."""
    return open_data("mnist", split=split).rows(np.arange(first, last)).flatten(1).float() / 255


def score(samples: Tensor) -> Score:
    measure = Parzen()
    sides: dict[Side, Tensor] = {
        "real": pixels("test", 0, 10_000),
        "held_out": pixels("train", 50_000, 51_000),
        "fake": samples,
    }
    for side, rows in sides.items():
        measure.update(side, Seen(torch.arange(len(rows)), rows))
    return measure.compute()["parzen"]


def main() -> None:
    train, noise = pixels("train", 0, 50_000), generator(torch.device("cpu"), 0)
    normal = torch.randn(10_000, 784, generator=noise)
    candidates = {
        "training images": train[torch.randperm(len(train), generator=noise)[:10_000]],
        "uniform noise": torch.rand(10_000, 784, generator=noise),
        "Gaussian pixels": (train.mean(0) + train.std(0) * normal).clamp(0, 1),
    }
    print("| samples | nats | σ | seconds |\n|---|---|---|---|")
    for name, samples in candidates.items():
        began = time.perf_counter()
        found = score(samples)
        seconds = time.perf_counter() - began
        print(
            f"| {name} | {found.value:.1f} ± {found.standard_error:.1f} | {found.facts['sigma']:.3f} | {seconds:.0f} |"
        )
        for note in found.notes[1:]:
            print(f"  {name}: {note}")


if __name__ == "__main__":
    main()
