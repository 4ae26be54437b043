"""`ring` and `grid`: mixtures of Gaussians in the plane, with their exact centres and width.

The two sets that mode collapse is measured on (Srivastava et al. 2017, VEEGAN, section 4.1; Metz et al. 2017).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from simulacra.data.randoms import bits
from simulacra.data.request import Request
from simulacra.data.source import Source
from simulacra.data.tensors import vector_source

COUNTS = {"train": 100_000, "test": 10_000}


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Equally weighted Gaussians with centres float64 [K, 2] and one standard deviation."""

    name: str
    centres: NDArray[np.float64]
    sigma: float


_ANGLES = 2 * math.pi * np.arange(8) / 8
_TICKS = np.arange(-4.0, 5.0, 2.0)
RING = Mixture("ring", np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1), 0.01)
GRID = Mixture("grid", np.stack(np.meshgrid(_TICKS, _TICKS, indexing="ij"), axis=-1).reshape(-1, 2), 0.05)


def open_ring(request: Request) -> Source:
    """8 Gaussians on the unit circle: 100,000 points to train on, 10,000 to test; labels are modes."""
    return _open(request, RING)


def open_grid(request: Request) -> Source:
    """25 Gaussians at {-4, -2, 0, 2, 4}^2: 100,000 points to train on, 10,000 to test; labels are modes."""
    return _open(request, GRID)


def draw(mixture: Mixture, split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points float32 [N, 2] and modes int64 [N], the same wherever and whenever they are drawn."""
    words = bits(f"world/{mixture.name}/{split}", 3 * COUNTS[split]).reshape(3, -1)
    modes = (words[0] % np.uint64(len(mixture.centres))).astype(np.int64)
    points = mixture.centres[modes] + mixture.sigma * _normals(words[1], words[2])
    return points.astype(np.float32), modes


def _normals(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Standard normals [N, 2] from two words of 64 random bits each (Box and Muller 1958)."""
    u, v = (((word >> np.uint64(11)) + 0.5) * 2.0**-53 for word in (one, other))
    radius, angle = np.sqrt(-2 * np.log(u)), 2 * math.pi * v
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _open(request: Request, mixture: Mixture) -> Source:
    points, modes = draw(mixture, request.split)
    classes = tuple(f"mode {mode}" for mode in range(len(mixture.centres)))
    note = f"{len(points):,} points from {len(classes)} Gaussians of sigma {mixture.sigma}"
    return vector_source(request, torch.from_numpy(points), torch.from_numpy(modes), classes, [note])
