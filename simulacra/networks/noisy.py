"""A perceptron of weight-normalised layers with noise on everything that goes in: what few labels are learned with."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm


class Noise(nn.Module):
    """Adds N(0, deviation²) to rows while training."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        """Rows in the shape of x."""
        return x + self.deviation * torch.randn_like(x) if self.training else x


class Direction(nn.Module):
    """Makes matrices `[outputs, inputs]` of rows of length 1, along the given ones."""

    def forward(self, weight: Tensor) -> Tensor:
        """The matrix."""
        return normalize(weight, dim=1)


def _normalised(inputs: int, outputs: int, scaled: bool) -> nn.Module:
    """A linear layer with normalised weights (Salimans & Kingma 2016), whose rows learn their lengths too if it
    is `scaled`."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, 0.0, inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return weight_norm(layer) if scaled else parametrize.register_parametrization(layer, "weight", Direction())


class NoisyMLP(nn.Module):
    """Hidden layers of ReLU units, `noise` on the input and on each of them: the classifier of Salimans et al. 2016 for
    MNIST. Weights are normalised, and only the last layer learns their lengths: signals that grew would drown the
    noise, which is about as large as they are where rows have length 1."""

    def __init__(
        self, inputs: tuple[int, ...], outputs: int, hidden: Sequence[int], noise: tuple[float, float]
    ) -> None:
        super().__init__()
        sizes, (first, others) = [prod(inputs), *hidden], noise
        layers: list[nn.Module] = [nn.Flatten()]
        for number, (a, b) in enumerate(zip(sizes, sizes[1:])):
            layers += [Noise(others if number else first), _normalised(a, b, scaled=False), nn.ReLU()]
        self.layers = nn.Sequential(*layers, Noise(others), _normalised(sizes[-1], outputs, scaled=True))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, *inputs]` to logits `[N, outputs]`."""
        return self.layers(x)
