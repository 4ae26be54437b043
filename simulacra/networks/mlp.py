"""Multilayer perceptrons."""

from collections.abc import Callable
from math import prod

from torch import Tensor, nn


class MLP(nn.Module):
    """`depth` hidden layers of `width` units between flattened inputs of any shape and outputs `[N, *outputs]`.

    `activation` makes each hidden layer's nonlinearity, `final` the output's.
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        width: int,
        depth: int = 2,
        activation: Callable[[], nn.Module] = nn.ReLU,
        final: Callable[[], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        sizes = [prod(inputs)] + [width] * depth
        hidden = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), activation())]
        self.layers = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], prod(outputs)), final())
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        """`[N, *inputs]` to `[N, *outputs]`."""
        return self.layers(x).view(-1, *self.outputs)
