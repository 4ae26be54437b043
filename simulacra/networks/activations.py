"""Nonlinearities of hidden layers, by name."""

from collections.abc import Callable
from functools import partial
from typing import Literal

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
        return x.unflatten(1, (self.pieces, -1)).amax(1)
