"""Annealed importance sampling against the truth: log Z of a Bernoulli RBM with 15 hidden units, trained on MNIST.

    python benchmarks/ais_rbm.py [--epochs 20] [--chains 100]

The images are made bits once (seed 0). The RBM is trained by CD-1 (plain steps, batches of 100, rate 0.05 falling to
0) on the 60 000 training images. Then log Z by enumeration of its 2^15 hidden states, by AIS from the base rates of the
training bits along the paper's 14 500 steps, and the mean log-likelihood of the 10 000 test images under both.
"""

import argparse
import time

import torch
from torch import Tensor

from simulacra.data import Feed, open_data
from simulacra.metrics.ais import RBMPath, annealed, base_rate, exact_log_z, paper_betas
from simulacra.randomness import generator, sample_uniform

HIDDEN = 15


def bits(split: str) -> Tensor:
    """Every image as 784 bits that are one with the pixels' brightness as probability."""
    source = open_data("mnist", split=split)
    x = Feed(source, seed=0, batch=len(source), full_passes=True).at(0).x.flatten(1)
    return (sample_uniform(*x.shape, seed=0) < 0.5 * (x + 1)).float()


def trained(data: Tensor, epochs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights `[784, 15]`, visible and hidden biases after CD-1 (Hinton 2002)."""
    noise = generator(torch.device("cpu"), 0)
    weights = 0.01 * torch.randn(data.shape[1], HIDDEN, generator=noise)
    visible, hidden = base_rate(data).float(), torch.zeros(HIDDEN)
    for epoch in range(epochs):
        rate = 0.05 * (1 - epoch / epochs)
        for rows in torch.randperm(len(data), generator=noise).split(100):
            v = data[rows]
            h = (v @ weights + hidden).sigmoid()
            on = (torch.rand(h.shape, generator=noise) < h).float()
            back = (torch.rand(v.shape, generator=noise) < (on @ weights.T + visible).sigmoid()).float()
            again = (back @ weights + hidden).sigmoid()
            weights += rate * (v.T @ h - back.T @ again) / len(v)
            visible += rate * (v - back).mean(0)
            hidden += rate * (h - again).mean(0)
    return weights, visible, hidden


def timed(what, *given):
    began = time.perf_counter()
    found = what(*given)
    return found, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--chains", type=int, default=100)
    given = parser.parse_args()
    train, test = bits("train"), bits("test")
    rbm, training = timed(trained, train, given.epochs)
    exact, enumeration = timed(exact_log_z, *rbm)
    path = RBMPath(*rbm, base_rate(train))
    found, annealing = timed(annealed, path, paper_betas(), given.chains)
    likelihood = path.log_density(path.at(test), 1.0)
    error = (likelihood.std() / len(test) ** 0.5).item()
    distance = (found.value - exact) / found.standard_error
    print(f"RBM with {HIDDEN} hidden units, CD-1, {given.epochs} epochs in {training:.0f} s")
    print(f"log Z exact {exact:.4f} ({enumeration:.1f} s)")
    print(
        f"log Z AIS   {found.value:.4f} ± {found.standard_error:.4f}, interval [{found.low:.4f}, {found.high:.4f}], "
        f"{found.effective_chains:.1f} effective of {given.chains} chains ({annealing:.0f} s)"
    )
    print(f"difference {found.value - exact:+.4f} = {distance:+.2f} standard errors")
    for name, log_z in (("exact", exact), ("AIS", found.value)):
        print(f"test log-likelihood, {name}: {likelihood.mean().item() - log_z:.3f} ± {error:.3f} nats")


if __name__ == "__main__":
    main()
