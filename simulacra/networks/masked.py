"""Linear layers and perceptrons in which an output depends on chosen inputs alone."""

from collections.abc import Generator, Sequence

from torch import Tensor, nn
from torch.nn.functional import linear, relu


class MaskedLinear(nn.Linear):
    """A linear layer whose weights are masked by degrees (Germain et al. 2015, eq. 8 and 9): an output sees the inputs
    whose degree is at most its own, or below its own with `strict`. There are K sets of degrees, int64 `[K, inputs]`
    and `[K, outputs]`, and so K masks over the same weights.
    """

    before: Tensor
    after: Tensor

    def __init__(self, before: Tensor, after: Tensor, *, strict: bool, bias: bool = True) -> None:
        super().__init__(before.shape[1], after.shape[1], bias=bias)
        self.strict = strict
        self.register_buffer("before", before, persistent=False)
        self.register_buffer("after", after, persistent=False)

    def masked(self, k: int = 0) -> Tensor:
        """The weights `[outputs, inputs]` under the k-th mask."""
        before, after = self.before[k], self.after[k][:, None]
        return self.weight.masked_fill(before >= after if self.strict else before > after, 0.0)

    def forward(self, input: Tensor, k: int = 0) -> Tensor:
        """`[N, inputs]` to `[N, outputs]`, under the k-th mask."""
        return linear(input, self.masked(k), self.bias)


class MaskedMLP(nn.Module):
    """A perceptron of D numbers onto D numbers, each of which depends on the inputs of smaller degree alone.

    `order` int64 `[K, D]` gives every number its place 1 … D in each of K orders; `hidden` the degrees int64
    `[K, width]` of each hidden layer's units, 1 … D−1. `direct`: with connections straight from inputs to outputs
    (Germain et al. 2015, eq. 11).
    """

    order: Tensor

    def __init__(self, order: Tensor, hidden: Sequence[Tensor], *, direct: bool) -> None:
        super().__init__()
        degrees = [order, *hidden]
        self.register_buffer("order", order, persistent=False)
        self.layers = nn.ModuleList(MaskedLinear(a, b, strict=False) for a, b in zip(degrees, hidden))
        self.last = MaskedLinear(degrees[-1], order, strict=True)
        self.direct = MaskedLinear(order, order, strict=True, bias=False) if direct else None

    def forward(self, x: Tensor, k: int = 0) -> Tensor:
        """`[N, D]` to `[N, D]`, in the k-th order."""
        h = x
        for layer in self.layers:
            h = relu(layer(h, k))
        return self.last(h, k) if self.direct is None else self.last(h, k) + self.direct(x, k)

    def walk(self, n: int, k: int = 0) -> Generator[Tensor, Tensor | None, None]:
        """The outputs `[n]` one by one, in the k-th order; is sent the input `[n]` at the place of each.

        A unit is computed once, when the last of its inputs is known: the whole walk costs one forward pass."""
        layers, last = [_Table(layer, k) for layer in self._hidden()], _Table(self.last, k)
        direct = None if self.direct is None else _Table(self.direct, k)
        values = [last.weight.new_zeros(n, width) for width in (self.last.out_features, *(len(t.bias) for t in layers))]
        for known, place in enumerate(self.order[k].argsort().tolist()):
            for layer, below, units in zip(layers, values, values[1:]):
                which = layer.of_degree(known)
                units[:, which] = relu(linear(below, layer.weight[which], layer.bias[which]))
            output = values[-1] @ last.weight[place] + last.bias[place]
            bit = yield output if direct is None else output + values[0] @ direct.weight[place]
            assert bit is not None
            values[0][:, place] = bit

    def _hidden(self) -> list[MaskedLinear]:
        return [layer for layer in self.layers if isinstance(layer, MaskedLinear)]


class _Table:
    """A layer's weights under its k-th mask, and which outputs have which degree."""

    def __init__(self, layer: MaskedLinear, k: int) -> None:
        self.weight, self.degrees = layer.masked(k), layer.after[k]
        self.bias = self.weight.new_zeros(len(self.weight)) if layer.bias is None else layer.bias

    def of_degree(self, degree: int) -> Tensor:
        return (self.degrees == degree).nonzero().flatten()
