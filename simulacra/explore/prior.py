"""What a model's prior is like, as far as its draws tell."""

import torch
from torch import Tensor

from simulacra.capabilities import HasPrior

DRAWN = 200_000  # numbers of latents that a law is judged by, and at least `FEWEST` latents
FEWEST = 1000
FOURTH = 0.07  # by how much the fourth moments of a spherical law may seem to differ
SECOND = 0.25  # and by how much any coordinate's second moment
NORMAL = 0.6  # by how much the kurtosis of a normal coordinate may seem to differ from 3
CENTRE = 0.15  # and its mean from 0, in deviations


def draws(model: HasPrior) -> Tensor:
    """Latents `[n, J]` of the prior, on the CPU: 200,000 numbers, or 1000 latents where those hold more. Seed 0."""
    width = model.prior(1).shape[1]
    return model.prior(max(FEWEST, DRAWN // width)).detach().cpu()


def is_spherical(z: Tensor) -> bool:
    """Whether latents `z` `[n, J]` look as if their law did not change when rotated about the origin, as N(0, I) and
    the uniform law on a sphere do not.

    Such a law has E z_j² = E‖z‖² / J for every j, and E z_j⁴ = 3 E‖z‖⁴ / (J (J + 2)), from the moments of a uniform
    direction. The uniform law on a cube has 0.86 of that fourth moment at J = 2 and 0.6 at J = 100, a one-hot part has
    another second moment. One number (J = 1) cannot turn: never spherical. Needs some thousand latents.
    """
    z, width = z.double(), z.shape[1]
    second, squared = z.square().mean(0), z.square().sum(1)
    if width < 2 or not squared.mean() > 0:
        return False
    even = (second / second.mean() - 1.0).abs().max() < SECOND
    ratio = z.pow(4).mean() * width * (width + 2) / (3.0 * squared.square().mean())
    return bool(even and abs(ratio - 1.0) < FOURTH)


def spherical_part(z: Tensor) -> Tensor:
    """Which coordinates, bool `[J]`, of latents `z` `[n, J]` have a spherical law together: all, where `is_spherical`;
    else those that look normal one by one, such as the noise beside a class or a code; else none."""
    if is_spherical(z):
        return torch.ones(z.shape[1], dtype=torch.bool)
    wide = z.double()
    second = wide.square().mean(0).clamp_min(1e-30)
    kurtosis, centre = wide.pow(4).mean(0) / second.square(), wide.mean(0) / second.sqrt()
    normal = ((kurtosis - 3.0).abs() < NORMAL) & (centre.abs() < CENTRE)
    return normal if is_spherical(z[:, normal]) else torch.zeros_like(normal)


def spread(z: Tensor, directions: Tensor) -> Tensor:
    """Standard deviations `[K]` of latents `z` `[n, J]` along unit `directions` `[K, J]`."""
    return (z.to(directions.dtype) @ directions.T.to(z.device)).std(0)
