"""Normals on the line, and integrals over it."""

from math import log, pi, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from simulacra.randomness import generator

GRID = torch.linspace(-30.0, 30.0, 60_001, dtype=torch.float64)


def integral(values: Tensor) -> float:
    """∫ over `GRID` by the trapezoid rule."""
    return torch.trapezoid(values, GRID).item()


def noise(key: int, *shape: int) -> Tensor:
    """Standard normal numbers of a key, float64."""
    return torch.randn(*shape, generator=generator(torch.device("cpu"), key), dtype=torch.float64)


class Normal(NamedTuple):
    """N(mean, deviation²) on the line."""

    mean: float
    deviation: float

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x), of the shape of `x`."""
        return -0.5 * ((x - self.mean) / self.deviation).square() - log(self.deviation * sqrt(2 * pi))

    def draw(self, n: int, key: int) -> Tensor:
        """Samples `[n, 1]` of a key."""
        return self.mean + self.deviation * noise(key, n, 1)


def log_ratio(p: Normal, q: Normal, x: Tensor) -> Tensor:
    """log p(x)/q(x): the logit of the best discriminator, p/(p + q)."""
    return p.log_density(x) - q.log_density(x)
