"""Precision and recall against torch-fidelity's, in one process: seconds, memory, and whether they agree.

    OMP_NUM_THREADS=2 nohup python -u benchmarks/neighbours_speed.py --rows 50000 > neighbours.log 2>&1 &

Both get the same seeded features, float32 `[rows, dim]`: 16 numbers spread over all dimensions and noise, the generated
side narrower. Ours comes first, is fed batch by batch as an evaluation feeds it, and gives density and coverage too;
torch-fidelity's `calculate_precision_recall_part` is given the features as two tensors. The peak is the largest
resident memory of the process while each ran, looked at 50 times a second, features and Python included.

Run it on an idle machine: a thread that waits for a busy core holds up the other one, in every operation on a tile.
"""

import argparse
import platform
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch
import torch_fidelity

from simulacra import randomness
from simulacra.metrics.measure import Seen, Side
from simulacra.metrics.neighbours import Neighbours

BATCH, LATENT, NOISE = 1000, 16, 0.1
WIDTH: dict[Side, float] = {"real": 1.0, "fake": 0.85}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Reading:
    """What one implementation said, in how many seconds, and the most memory the process had meanwhile, in GiB."""

    scores: dict[str, float]
    seconds: float
    peak: float


def features(side: Side, first: int, count: int, dim: int) -> torch.Tensor:
    """Rows first … first+count−1 of a side: a function of side and first."""
    basis = torch.randn(LATENT, dim, generator=randomness.generator(CPU, 0)) / LATENT**0.5
    own = randomness.generator(CPU, 1, list(WIDTH).index(side), first)
    rows = WIDTH[side] * torch.randn(count, LATENT, generator=own) @ basis
    return rows + NOISE * torch.randn(count, dim, generator=own)


def batches(rows: int) -> list[tuple[int, int]]:
    return [(first, min(BATCH, rows - first)) for first in range(0, rows, BATCH)]


def reading(work: Callable[[], dict[str, float]]) -> Reading:
    """Run `work` while another thread watches the process's memory."""
    process, done, peak = psutil.Process(), threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    scores = work()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    return Reading(scores, seconds, peak[0] / 2**30)


def ours(rows: int, dim: int) -> Reading:
    measure = Neighbours()
    for side in measure.sides:
        for first, count in batches(rows):
            measure.update(side, Seen(torch.arange(first, first + count), features(side, first, count, dim)))
    return reading(lambda: {name: score.value for name, score in measure.compute().items()})


def theirs(rows: int, dim: int) -> Reading:
    from torch_fidelity.metric_prc import calculate_precision_recall_part

    sides: Any = [torch.empty(rows, dim) for _ in WIDTH]
    for held, side in zip(sides, WIDTH):
        for first, count in batches(rows):
            held[first : first + count] = features(side, first, count, dim)
    real, fake = sides
    return reading(lambda: dict(zip(("precision", "recall"), calculate_precision_recall_part(fake, real, 3))))


def line(name: str, reading: Reading) -> str:
    scores = "  ".join(f"{score} {value:.6f}" for score, value in reading.scores.items())
    return f"{name:<16}{reading.seconds:>10.1f} s{reading.peak:>8.2f} GiB   {scores}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--ours-only", action="store_true")
    given = parser.parse_args()
    versions = f"torch {torch.__version__}, torch-fidelity {torch_fidelity.__version__}"
    print(
        f"Python {platform.python_version()}, {versions}; {torch.get_num_threads()} threads on {platform.processor()}"
    )
    print(f"{given.rows:,} × {given.dim} features on either side", flush=True)
    own = ours(given.rows, given.dim)
    print(line("simulacra", own), flush=True)
    if given.ours_only:
        return
    other = theirs(given.rows, given.dim)
    print(line("torch-fidelity", other))
    apart = max(
        abs(own.scores[name] / value - 1) if value else own.scores[name] for name, value in other.scores.items()
    )
    print(f"{other.seconds / own.seconds:.2f} times as fast; greatest relative difference {apart:.1e}")
    sys.exit(apart > 1e-4)


if __name__ == "__main__":
    main()
