"""Random quantities as functions of uniform numbers on [0, 1)."""

import torch
from torch import Tensor

from simulacra.precision import widen


def between(u: Tensor, low: float, high: float) -> Tensor:
    """Uniform on [low, high); the middle at u = ½."""
    return low + (high - low) * u


def integers(u: Tensor, n: int) -> Tensor:
    """Uniform on 0 … n−1, as int64: ⌊nu⌋, which rounding never takes to n."""
    return (u * n).long()


def normal(u: Tensor) -> Tensor:
    """Standard normal by the inverse of its distribution function, in float32 or better: 0 at u = ½, and within ±5.42,
    as numbers closer than 2⁻²⁵ to 0 or 2⁻²⁴ to 1 are taken as that far away."""
    return torch.special.ndtri(widen(u).clamp(2.0**-25, 1.0 - 2.0**-24))
