"""Corruption processes C(x̃|x) of denoising autoencoders (Vincent et al. 2010, "Stacked Denoising Autoencoders", §3.3),
as functions of rows `[N, ...]` and noise in their shape."""

import torch
from torch import Tensor


def gaussian(x: Tensor, deviation: float, normal: Tensor) -> Tensor:
    """x + `deviation` · ε, ε standard normal: additive isotropic Gaussian noise."""
    return x + deviation * normal


def masking(x: Tensor, share: float, uniform: Tensor, nothing: float = 0.0) -> Tensor:
    """A `share` of the numbers, each by itself, is `nothing`; `uniform` is on [0, 1)."""
    return torch.where(uniform < share, nothing, x)


def salt_and_pepper(x: Tensor, share: float, uniform: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """A `share` of the numbers, each by itself, is `low` or `high`, as a fair coin falls; `uniform` is on [0, 1)."""
    tossed = torch.where(uniform < 0.5 * share, low, high)
    return torch.where(uniform < share, tossed.to(x.dtype), x)
