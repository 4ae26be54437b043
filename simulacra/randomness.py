"""Every random number is a function of a key and a sample's number, never of history.

Two kinds are needed. Training draws for a whole joint batch from a `torch.Generator` seeded by the key of the move.
Sampling wants sample *i* to be the same whatever is drawn beside it: a counter-based hash of (seed, i, draw).
"""

import hashlib
import math
import struct
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from simulacra.errors import UserError

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
BELOW_ONE = 1.0 - 2.0**-24  # the largest float32 below one


def key_of(*parts: int) -> int:
    """A 63-bit key from any number of integers: equal parts give equal keys, on every machine."""
    digest = hashlib.blake2b(struct.pack(f"<{len(parts)}q", *parts), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(device: torch.device, *parts: int) -> torch.Generator:
    """A generator on `device` whose stream is a function of `parts` alone."""
    return torch.Generator(device).manual_seed(key_of(*parts))


def seed_torch(device: torch.device, key: int) -> None:
    """Seed torch's own generators, of the CPU and of `device`: `torch.manual_seed` without its price where the build
    knows a device that the machine lacks (a tenth of a millisecond)."""
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.manual_seed(key)
    elif device.type == "mps":
        torch.mps.manual_seed(key)


def counter_uniform(seed: int, index: np.ndarray, width: int, draw: int = 0) -> np.ndarray:
    """Uniform numbers in (0, 1), float64 `[len(index), width]`: row k depends on (seed, index[k], draw) alone.

    A SplitMix64 stream (Steele, Lea & Flood 2014, Fig. 15) per row: the row's key is hashed from its number, the
    columns are its successive outputs.
    """
    base = np.uint64(key_of(seed, draw))
    rows = mix(base + GOLDEN * (index.astype(np.uint64) + np.uint64(1)))
    columns = GOLDEN * np.arange(1, width + 1, dtype=np.uint64)
    bits = mix(rows[:, None] + columns[None, :])
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: a bijection of 64-bit words in which every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def sample_uniform(n: int, *shape: int, seed: int, start: int = 0, draw: int = 0) -> Tensor:
    """Uniform noise on (0, 1) for samples start … start+n−1, float32 `[n, *shape]`, on the CPU. What rounds to one is
    the number before it, so that an event of probability one always happens where it is asked for by u < p."""
    uniform = torch.from_numpy(_counted(n, shape, seed, start, draw)).float()
    return uniform.clamp_(max=BELOW_ONE).reshape(n, *shape)


def sample_normal(
    n: int, *shape: int, seed: int, start: int = 0, draw: int = 0, truncation: float = math.inf
) -> Tensor:
    """Standard normal noise for samples start … start+n−1, float32 `[n, *shape]`, on the CPU; conditioned on being
    within ±`truncation`, by the inverse of its distribution function. Raises UserError where that is not positive."""
    bound = torch.tensor(positive(truncation), dtype=torch.float64, device="cpu")
    below, above = torch.special.ndtr(-bound), torch.special.ndtr(bound)
    uniform = below + (above - below) * torch.from_numpy(_counted(n, shape, seed, start, draw))
    return torch.special.ndtri(uniform).clamp(-bound, bound).float().reshape(n, *shape)


def sample_categorical(shares: Tensor, n: int, *, seed: int, start: int = 0) -> Tensor:
    """Numbers int64 `[n]` of samples start … start+n−1, each with a probability in proportion to its share `[K]`."""
    u = sample_uniform(n, 1, seed=seed, start=start)[:, 0].double()
    upto = shares.detach().cpu().double().cumsum(0)
    return torch.searchsorted(upto, u * upto[-1], right=True).clamp_max(len(upto) - 1)


class Draws:
    """Noise of samples start … start+n−1 of the stream `seed`, each call the next draw of it:
    float32 `[n, *shape]` on `device`. It is asked as a cost asks its `At`, so that a chain reads the same in both."""

    def __init__(self, n: int, *, seed: int, start: int = 0, device: torch.device | None = None) -> None:
        self.n, self.seed, self.start, self.device, self.draw = n, seed, start, device, 0

    def normal(self, *shape: int) -> Tensor:
        """Standard normal noise `[n, *shape]`."""
        return self._next(sample_normal, shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform noise on (0, 1), `[n, *shape]`."""
        return self._next(sample_uniform, shape)

    def _next(self, law: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        self.draw += 1
        return law(self.n, *shape, seed=self.seed, start=self.start, draw=self.draw - 1).to(self.device)


class Noise(Protocol):
    """Where a chain takes its noise from: a cost's `At`, or `Draws`."""

    def normal(self, *shape: int) -> Tensor:
        """Standard normal noise `[N, *shape]`."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """Uniform noise on [0, 1), `[N, *shape]`."""
        ...


def positive(truncation: float) -> float:
    """`truncation`, a threshold on the size of noise. Raises UserError where it is not above zero."""
    if not truncation > 0:
        raise UserError(f"truncation {truncation}: the threshold must be above 0 (inf truncates nothing)")
    return truncation


def _counted(n: int, shape: tuple[int, ...], seed: int, start: int, draw: int) -> np.ndarray:
    return counter_uniform(seed, np.arange(start, start + n), int(np.prod(shape, dtype=np.int64)), draw)
