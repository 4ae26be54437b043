"""Penalties on the gradient of a critic's score by its input.

Each gives one value per row `[N]` in float32 or better, differentiable by the critic's parameters, and advances no
buffer. Noise is an argument. Rows are independent unless the critic mixes them, as batch norm does. Where a row depends
on parameters that require grad, as a fake does on those of a generator that moves too, so does its penalty.
"""

import torch
from torch import Tensor, nn

from simulacra.buffers import held
from simulacra.precision import full_precision, widen


def squared_gradient(critic: nn.Module, x: Tensor) -> Tensor:
    """‖∇ₓ critic(x)‖² `[N]`, differentiable by the critic's parameters, in float32 or better. Raises ValueError where
    the score does not depend on x by way of derivatives."""
    x = widen(x) if x.requires_grad else widen(x.detach()).requires_grad_()
    with full_precision(x.device), held(critic):
        score = critic(x).sum()
        gradient = (
            torch.autograd.grad(score, x, create_graph=True, allow_unused=True)[0] if score.requires_grad else None
        )
    if gradient is None:
        raise ValueError(f"the score of {type(critic).__name__} has no gradient by its input to be penalised")
    return gradient.flatten(1).square().sum(1)


def gradient_norm(critic: nn.Module, x: Tensor) -> Tensor:
    """‖∇ₓ critic(x)‖ `[N]`; where it is 0, so are its derivatives of every order."""
    squared = squared_gradient(critic, x)
    rises = squared > 0
    return torch.where(rises, torch.where(rises, squared, 1.0).sqrt(), 0.0)


def r1(critic: nn.Module, real: Tensor, gamma: float) -> Tensor:
    """γ/2 ‖∇D(x)‖² `[N]` on real data (Mescheder, Geiger & Nowozin 2018, eq. 9)."""
    return 0.5 * gamma * squared_gradient(critic, real)


def r2(critic: nn.Module, fake: Tensor, gamma: float) -> Tensor:
    """γ/2 ‖∇D(x̃)‖² `[N]` on fakes (Mescheder, Geiger & Nowozin 2018, eq. 10)."""
    return 0.5 * gamma * squared_gradient(critic, fake)


def gradient_penalty(
    critic: nn.Module, real: Tensor, fake: Tensor, epsilon: Tensor, weight: float, one_sided: bool = False
) -> Tensor:
    """λ (‖∇D(x̂)‖ − 1)² `[N]` at x̂ = εx + (1 − ε)x̃, ε `[N]` uniform on [0, 1] (Gulrajani et al. 2017, eq. 3).

    `one_sided`: λ max(0, ‖∇D(x̂)‖ − 1)², which leaves slopes below 1 alone (Petzka, Fischer & Lukovnikov 2018).
    """
    real, fake = widen(real), widen(fake)
    epsilon = epsilon.view(-1, *[1] * (real.ndim - 1))
    excess = gradient_norm(critic, epsilon * real + (1 - epsilon) * fake) - 1
    return weight * (excess.relu() if one_sided else excess).square()


def dragan(critic: nn.Module, real: Tensor, noise: Tensor, weight: float, slope: float = 1.0) -> Tensor:
    """λ (‖∇D(x + δ)‖ − k)² `[N]` around real points, k being `slope` (Kodali et al. 2017, eq. 1).

    δ, the shape of `real`, is N(0, cI) in the paper. The authors' first code took δ = ½ std(x) u, u uniform on [0, 1),
    with the standard deviation of the whole batch, and multiplied it by a second uniform number per row.
    """
    at = widen(real) + widen(noise)
    return weight * (gradient_norm(critic, at) - slope).square()
