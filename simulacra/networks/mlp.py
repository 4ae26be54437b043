"""Multilayer perceptrons."""

from collections.abc import Callable, Sequence
from math import prod

from torch import Tensor, nn

from simulacra.networks.activations import Maxout
from simulacra.precision import full_precision, widen


class Exact(nn.Linear):
    """A linear layer in float32 or better, whatever precision surrounds it."""

    def forward(self, input: Tensor) -> Tensor:
        """`[..., inputs]` to `[..., outputs]`."""
        with full_precision(input.device):
            return super().forward(widen(input))


class Masking(nn.Dropout):
    """Dropout that leaves −1 in the place of what it drops: pixels in [−1, 1] go black, as pixels in [0, 1] do by plain
    dropout, where 0 would be grey."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape."""
        return super().forward(input + 1.0) - 1.0


def dropped(shares: Sequence[float], number: int, kind: type[nn.Dropout] = nn.Dropout) -> list[nn.Module]:
    """The dropout before linear layer `number`, counted from 0, if there is one: `shares` are those of the first."""
    return [kind(shares[number])] if number < len(shares) and shares[number] else []


class MLP(nn.Module):
    """`depth` hidden layers of `width` units between flattened inputs of any shape and outputs `[N, *outputs]`.

    `activation` makes each hidden layer's nonlinearity, `final` the output's. `batch_norm`: before each nonlinearity.
    `maxout`: units that are the largest of so many linear ones, instead of `activation`; 0 for none. `dropout`: shares
    of their inputs that the first linear layers lose in training; `pixels`: inputs are in [−1, 1] and go black where
    they are lost. `exact`: the first and the last layer in full precision, for points, whose coordinates mean more than
    bfloat16's three digits.
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        width: int,
        depth: int = 2,
        activation: Callable[[], nn.Module] = nn.ReLU,
        final: Callable[[], nn.Module] = nn.Identity,
        *,
        batch_norm: bool = False,
        maxout: int = 0,
        dropout: Sequence[float] = (),
        pixels: bool = False,
        exact: bool = False,
    ) -> None:
        super().__init__()
        sizes = [prod(inputs)] + [width] * depth
        ends = Exact if exact else nn.Linear
        hidden: list[nn.Module] = []
        for number, (a, b) in enumerate(zip(sizes, sizes[1:])):
            units = b * (maxout or 1)
            hidden += dropped(dropout, number, Masking if pixels and not number else nn.Dropout)
            hidden += [(nn.Linear if number else ends)(a, units, bias=not batch_norm)]
            hidden += [nn.BatchNorm1d(units)] if batch_norm else []
            hidden += [Maxout(maxout) if maxout else activation()]
        hidden += dropped(dropout, depth)
        self.layers = nn.Sequential(nn.Flatten(), *hidden, ends(sizes[-1], prod(outputs)), final())
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        """`[N, *inputs]` to `[N, *outputs]`."""
        return self.layers(x).view(-1, *self.outputs)
