"""Penalties on the gradient of a critic's score by its input."""

import torch
from torch import Tensor, nn

from simulacra.buffers import held
from simulacra.precision import full_precision, widen


def squared_gradient(critic: nn.Module, x: Tensor) -> Tensor:
    """‖∇ₓ critic(x)‖² `[N]`, differentiable by the critic's parameters, in float32 or better."""
    x = widen(x.detach()).requires_grad_()
    with full_precision(x.device), held(critic):
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def r1(critic: nn.Module, real: Tensor, gamma: float) -> Tensor:
    """γ/2 ‖∇D(x)‖² `[N]` on real data (Mescheder, Geiger & Nowozin 2018, eq. 9)."""
    return 0.5 * gamma * squared_gradient(critic, real)
