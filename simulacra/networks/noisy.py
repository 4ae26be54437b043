"""A perceptron of weight-normalised layers with noise on everything that goes in: what few labels are learned with."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class Noise(nn.Module):
    """Adds N(0, deviation²) to rows while training."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        """Rows in the shape of x."""
        return x + self.deviation * torch.randn_like(x) if self.training else x


def _normalised(inputs: int, outputs: int) -> nn.Module:
    """A linear layer whose weights are normalised, with rows of length √2 at first: signals keep their size beside the
    noise (He et al. 2015)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, 0.0, (2.0 / inputs) ** 0.5)
    nn.init.zeros_(layer.bias)
    return weight_norm(layer)


class NoisyMLP(nn.Module):
    """Hidden layers of ReLU units, `noise` on the input and on each of them, weights normalised (Salimans & Kingma
    2016): the classifier of Salimans et al. 2016 for MNIST."""

    def __init__(
        self, inputs: tuple[int, ...], outputs: int, hidden: Sequence[int], noise: tuple[float, float]
    ) -> None:
        super().__init__()
        sizes, (first, others) = [prod(inputs), *hidden], noise
        layers: list[nn.Module] = [nn.Flatten()]
        for number, (a, b) in enumerate(zip(sizes, sizes[1:])):
            layers += [Noise(others if number else first), _normalised(a, b), nn.ReLU()]
        self.layers = nn.Sequential(*layers, Noise(others), _normalised(sizes[-1], outputs))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, *inputs]` to logits `[N, outputs]`."""
        return self.layers(x)
