"""Arithmetic on latents (Radford, Metz & Chintala 2016, "DCGAN", §6.3.2)."""

import torch
from torch import Tensor

from simulacra import randomness
from simulacra.errors import UserError

NOISE = 0.25 * 3**0.5  # standard deviations: the paper's ±0.25 where the prior is uniform on ±1


def combined(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """mean(a) − mean(b) + mean(c), `[J]`, of latents `[A, J]`, `[B, J]` and `[C, J]`.

    The paper takes means of three, as single latents made unstable pictures. There is a reason: with a normal prior the
    sum of three means of three draws is normal again, and that of single draws √3 times as long.

    Raises:
        UserError: an operand without latents, or operands of different width.
    """
    widths = {z.shape[1] for z in (a, b, c)}
    if not (len(a) and len(b) and len(c)):
        raise UserError("arithmetic needs at least one latent on each side")
    if len(widths) > 1:
        raise UserError(f"latents of {' and '.join(map(str, sorted(widths)))} numbers cannot be added")
    return a.mean(0) - b.mean(0) + c.mean(0)


def around(z: Tensor, n: int, deviations: Tensor, *, seed: int = 0) -> Tensor:
    """Latents `[n, J]` near `z` `[J]`: each number moved by uniform noise of at most 0.43 of the prior's standard
    deviations `[J]`, which is the paper's ±0.25 of a uniform prior (Fig. 7). A function of the seed."""
    noise = 2.0 * randomness.sample_uniform(n, len(z), seed=seed) - 1.0
    return z + NOISE * (deviations.cpu() * noise).to(z)


def mean_of(parts: list[Tensor]) -> Tensor:
    """The mean row `[1, J]` of latents that come in blocks `[N, J]`, added up in float64; on the CPU."""
    rows = sum(len(part) for part in parts)
    total = torch.stack([part.cpu().double().sum(0) for part in parts]).sum(0)
    return (total / rows).to(parts[0].dtype)[None]
