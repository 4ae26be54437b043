"""Nonlinearities of hidden layers, by name."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

Activation = Literal["relu", "leaky", "tanh"]

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky": partial(nn.LeakyReLU, 0.2),
    "tanh": nn.Tanh,
}


class Maxout(nn.Module):
    """The largest of every `pieces` values, which are `N` apart: `[B, pieces·N]` to `[B, N]` (Goodfellow et al. 2013,
    Maxout Networks, §3)."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """`[B, pieces·N]` to `[B, N]`."""
        return _Largest.apply(x.unflatten(1, (self.pieces, -1)))


class _Largest(torch.autograd.Function):
    """`amax(1)` with its gradient, which equal pieces share. Torch's own counts them in integers and reads booleans,
    which takes four times as long on a CPU (`benchmarks/maxout_speed.py`)."""

    @staticmethod
    def forward(ctx: Any, pieces: Tensor) -> Tensor:
        largest = pieces.amax(1)
        ctx.save_for_backward(pieces, largest)
        return largest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        pieces, largest = (saved.detach() for saved in ctx.saved_tensors)
        equal = torch.eq(pieces, largest.unsqueeze(1), out=torch.empty_like(pieces))
        return (gradient / reduce(torch.add, equal.unbind(1))).unsqueeze(1) * equal
