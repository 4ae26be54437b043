"""Which average of the weights helps a short run: *dcgan* on MNIST, five minutes' worth of steps, judged many times.

    python benchmarks/ema_calibration.py [--steps 5500]

One training keeps several averages of the generator at once: the library's (decay min(d, t / (t + 10)) for several d)
and plain ones of constant decay that start at the untrained weights. Each is judged on 10 000 samples (seed 0) by the
Fréchet distance between the 128 features of the extractor *mnist* on them and on the 10 000 test images, statistics
of batch norm re-estimated; lower is better.
"""

import argparse

import numpy as np
import torch
from scipy import linalg

from simulacra.data import Feed, open_data
from simulacra.ema import Average, statistics_reestimated
from simulacra.features.catalogue import find_extractor
from simulacra.features.extractor import Extractor
from simulacra.game import Clock, Table
from simulacra.images import to_uint8
from simulacra.precision import autocast, choose_device, choose_precision
from simulacra.recipes import find
from simulacra.session import build


class Constant(Average):
    """The textbook average: one decay from the first step on, starting at the untrained weights."""

    def __init__(self, parameters, decay: float) -> None:
        super().__init__(parameters, decay)
        self.values = [parameter.detach().clone() for parameter in parameters]
        self.updates = 10**9


def features(extractor: Extractor, x: torch.Tensor) -> torch.Tensor:
    """The 128 numbers before the classifier's last layer."""
    return extractor(to_uint8(x)).features.double()


def frechet(a: torch.Tensor, b: torch.Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features."""
    root = np.real(np.asarray(linalg.sqrtm((a.T.cov() @ b.T.cov()).numpy())))
    return ((a.mean(0) - b.mean(0)).square().sum() + a.T.cov().trace() + b.T.cov().trace() - 2 * root.trace()).item()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5500)
    steps = parser.parse_args().steps
    device, source, kind = choose_device("cpu"), open_data("mnist"), find("dcgan")
    plan = build(kind, source, kind.options(**{"average": None}), 0, device)
    game, generator = plan.stages[0].game, plan.players["generator"]
    averages = {
        f"t/(t+10), at most {d}": Average(generator.parameters, d) for d in (0.99, 0.995, 0.999, 0.9995, 0.9999)
    }
    averages |= {f"constant {d}": Constant(generator.parameters, d) for d in (0.999, 0.9999)}
    feed = Feed(source, seed=0, batch=plan.batch, channels_last=True)
    table = Table(precision=autocast(choose_precision("auto", device), device))
    test = open_data("mnist", split="test")
    extractor = find_extractor("mnist", test.spec)
    real = features(extractor, Feed(test, seed=0, batch=len(test), full_passes=True).at(0).x)
    for step in range(steps):
        game.step(lambda k, step=step: feed.at(step), Clock(step=step, progress=step / steps), table)
        for average in averages.values():
            average.update()
        if step + 1 in (500, steps // 2, steps):
            report(plan.model, averages, extractor, real, step + 1)


def report(model, averages: dict[str, Average], extractor: Extractor, real: torch.Tensor, step: int) -> None:
    """Judge the raw weights with their own running statistics, and every average."""
    print(f"step {step}: raw {frechet(features(extractor, model.sample(10_000)), real):.2f}", end="", flush=True)
    for name, average in averages.items():
        with average.in_place(), statistics_reestimated(model, model.training_passes(0)):
            print(f" | {name} {frechet(features(extractor, model.sample(10_000)), real):.2f}", end="", flush=True)
    print(flush=True)


if __name__ == "__main__":
    main()
