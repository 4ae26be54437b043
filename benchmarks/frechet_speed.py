"""What the Fréchet distance costs: Tr (Σ1 Σ2)^½ against scipy's sqrtm, and the memory of streaming moments.

    python benchmarks/frechet_speed.py [--dimensions 2048] [--rows 50000]

One process, threads as by default. Made-up features as Inception's last pooling layer has them: not negative, with a
spectrum that decays over about seven decades. Every pair of covariances is timed in turn, `trace_of_root` three times
(the fastest counts), `sqrtm` of the product once; errors are relative, against an answer that needs neither: closed
forms, the nuclear norm of X Yᵀ where XᵀX and YᵀY are the covariances, or, at full rank, sqrtm itself.
"""

import argparse
import platform
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy
import torch
from scipy.linalg import sqrtm

from simulacra.metrics.frechet import Moments, frechet_distance, trace_of_root


@dataclass
class Pair:
    """Two covariances, and the trace of their product's root where it is known otherwise."""

    name: str
    a: torch.Tensor
    b: torch.Tensor
    known: float | None = None


class Features:
    """Made-up features `[n, D]`: rectified mixtures of latent numbers of decaying scale, with noise of its own scale
    in every dimension."""

    def __init__(self, dimensions: int, latent: int = 256) -> None:
        self.draws = torch.Generator().manual_seed(0)
        scale = torch.arange(1, latent + 1) ** -1.5
        self.mix = self.normal(latent, dimensions) * scale[:, None]
        self.noise = 10.0 ** (-2.5 * torch.rand(dimensions, generator=self.draws) - 0.5)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.draws)

    def drawn(self, n: int, shift: float = 0.0) -> torch.Tensor:
        """Rows float32 `[n, D]`, none negative."""
        x = self.normal(n, len(self.mix)) @ self.mix + self.normal(n, len(self.noise)) * self.noise
        return (0.3 * x + shift).relu()


def peak() -> float:
    """The largest memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def stream(features: Features, rows: int, batch: int = 100) -> Moments:
    """The moments of `rows` made-up rows as they come, with what they cost."""
    features.drawn(batch)
    before, start, generating, moments = peak(), time.perf_counter(), 0.0, Moments()
    for _ in range(rows // batch):
        now = time.perf_counter()
        part = features.drawn(batch)
        generating += time.perf_counter() - now
        moments.add(part)
    seconds = time.perf_counter() - start - generating
    print(f"{moments.count} rows x {len(moments.mean)} in batches of {batch}: {seconds:.1f} s, ", end="")
    print(f"peak memory + {peak() - before:.0f} MiB (from {before:.0f} MiB)", flush=True)
    return moments


def moments_of(rows: torch.Tensor) -> Moments:
    moments = Moments()
    moments.add(rows)
    return moments


def pairs(features: Features, full: Moments) -> Iterator[Pair]:
    d = len(full.mean)
    other = moments_of(features.drawn(3 * d, shift=0.1)).covariance
    yield Pair("full rank", full.covariance, other)
    x, y = (features.drawn(1000 * d // 2048, shift).double() for shift in (0.0, 0.1))
    few = [moments_of(rows).covariance for rows in (x, y)]
    x, y = ((rows - rows.mean(0)) / (len(rows) - 1) ** 0.5 for rows in (x, y))
    yield Pair(f"{len(x)} rows each", *few, known=nuclear_norm(x @ y.T))
    factor = torch.linalg.cholesky(full.covariance)
    yield Pair(f"full rank, {len(y)} rows", full.covariance, few[1], known=nuclear_norm(y @ factor))
    yield from common(d)
    yield Pair("zero, full rank", torch.zeros(d, d, dtype=torch.float64), full.covariance, known=0.0)


def nuclear_norm(matrix: torch.Tensor) -> float:
    return torch.linalg.svdvals(matrix).sum().item()


def common(d: int) -> Iterator[Pair]:
    """Common eigenvectors, so that the trace is Σ √(λ1 λ2): of full rank, and of ranks D/2 and D/4 that overlap."""
    q = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    k = torch.arange(d, dtype=torch.float64)
    a, b = 10.0 ** (-6 * k / d), 10.0 ** (-5 * k / d)
    yield Pair("common eigenvectors", (q * a) @ q.T, (q * b) @ q.T, known=(a * b).sqrt().sum().item())
    a, b = a * (k < d // 2), b * (k >= 3 * d // 8) * (k < 5 * d // 8)
    yield Pair(f"the same, ranks {d // 2}, {d // 4}", (q * a) @ q.T, (q * b) @ q.T, (a * b).sqrt().sum().item())


def timed(pair: Pair) -> str:
    """A line of the table."""
    ours, seconds = [], []
    for _ in range(3):
        start = time.perf_counter()
        ours.append(trace_of_root(pair.a, pair.b))
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    peer = np.trace(sqrtm((pair.a @ pair.b).numpy()))
    theirs = time.perf_counter() - start
    known = pair.known if pair.known is not None else peer.real
    errors = [abs(value - known) / (known or 1.0) for value in (ours[0], peer.real)]
    return (
        f"{pair.name:32} {min(seconds):7.2f} {theirs:7.2f} {theirs / min(seconds):7.1f}x {known:12.6f}"
        f" {errors[0]:10.1e} {errors[1]:10.1e} {abs(peer.imag):10.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=50_000)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads; Python ", end="")
    print(f"{platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, scipy {scipy.__version__}")
    features = Features(options.dimensions)
    full = stream(features, options.rows)
    spectrum = torch.linalg.eigvalsh(full.covariance)
    print(f"its covariance: trace {spectrum.sum():.1f}, eigenvalues {spectrum[0]:.1e} … {spectrum[-1]:.1e}", flush=True)
    print(f"Fréchet distance to itself: {frechet_distance(full, full):.1e}")
    print(f"{'D = ' + str(options.dimensions):32} {'ours s':>7} {'sqrtm s':>7} {'faster':>8} {'trace':>12}", end="")
    print(f" {'our error':>10} {'its error':>10} {'its imag.':>10}", flush=True)
    for pair in pairs(features, full):
        print(timed(pair), flush=True)


if __name__ == "__main__":
    main()
