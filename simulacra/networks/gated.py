"""Gated convolutions over the pixels above and to the left (van den Oord et al. 2016, "Conditional Image Generation
with PixelCNN Decoders", arXiv:1606.05328; equations are its)."""

from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

GATED = 2.94
"""1 / √(E tanh²(a) E σ²(b)), a, b ~ N(0, 1): one over the root mean square of what the gate leaves of normal numbers.
Weights that do not make up for it let a third of the vertical stack through at each layer, and nothing after nine."""


def gate(x: Tensor) -> Tensor:
    """tanh(x_f) ⊙ σ(x_g) of `[N, 2C, H, W]`, whose halves are x_f and x_g (eq. 2)."""
    features, gates = (part.clone() for part in x.chunk(2, 1))  # dense: on slices nonlinearities take twice the time
    return features.tanh_() * gates.sigmoid_()


class GatedLayer(nn.Module):
    """One layer of both stacks (figure 2), `[N, above, H, W]` and `[N, left, H, W]` to `[N, C, H, W]` each.

    The vertical stack sees, of its input, its own row and the `reach` rows over it, `reach` pixels to either side; the
    horizontal stack its own pixel and `reach` pixels to the left, and what the vertical stack made of the same place.
    Both take what came before as an argument, so that whole images and single rows and pixels go the same way.

    First weights are normal, of variance 1 over the inputs, and larger where the vertical stack reads what was gated.
    """

    def __init__(self, above: int, left: int, channels: int, reach: int) -> None:
        super().__init__()
        self.reach, self.residual = reach, left == channels
        self.down = nn.Conv2d(above, 2 * channels, (reach + 1, 2 * reach + 1))
        self.across = nn.Conv2d(left, 2 * channels, (1, reach + 1))
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        for conv in (self.down, self.across, self.link, self.out):
            gain = GATED if conv is self.down and above == channels else 1.0
            nn.init.normal_(conv.weight, std=gain / conv.weight[0].numel() ** 0.5)

    def vertical(self, v: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the vertical stack; what the horizontal one is told of them; and the last `reach` rows of its input,
        which are `before` the next."""
        window = torch.cat([before, v], 2)
        made = self.down(pad(window, (self.reach, self.reach)))
        return gate(made), self.link(made), window[:, :, window.shape[2] - self.reach :]

    def horizontal(self, h: Tensor, told: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels of the horizontal stack, and the last `reach` pixels of its input."""
        window = torch.cat([before, h], 3)
        made = self.out(gate(self.across(window) + told))
        return h + made if self.residual else made, window[..., window.shape[3] - self.reach :]


class GatedPixels(nn.Module):
    """Images of bits `[N, 1, H, W]` to `[N, 1, H, W]`, each output a function of the pixels before its own alone.

    The vertical stack is shown the image moved down by a row, the horizontal one the image moved right by a pixel; from
    there on all layers may see their own place, and none needs a mask. Beside the bits a constant tells the inside of
    the image from its margin. `first` and `reach` are how far the first layer and the `depth` others see.
    """

    def __init__(self, channels: int, depth: int, first: int, reach: int, head: int) -> None:
        super().__init__()
        others = [GatedLayer(channels, channels, channels, reach) for _ in range(depth)]
        self.layers = nn.ModuleList([GatedLayer(2, 2, channels, first), *others])
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, head, 1), nn.ReLU(), nn.Conv2d(head, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """All outputs at once."""
        seen = torch.cat([x, torch.ones_like(x)], 1).to(memory_format=torch.channels_last)  # as the weights
        v, h = pad(seen, (0, 0, 1, -1)), pad(seen, (1, -1))
        for layer in self._layers():
            v, told, _ = layer.vertical(v, _nothing(v, rows=layer.reach))
            h, _ = layer.horizontal(h, told, _nothing(h, columns=layer.reach))
        return self.head(h)

    def walk(self, n: int, height: int, width: int) -> Generator[Tensor, Tensor | None, None]:
        """The outputs `[n]` pixel by pixel; is sent the bit `[n]` of each.

        Keeps the last rows of every vertical and the last pixels of every horizontal layer: each place of each layer is
        computed once, as in one pass over the images."""
        row = self.head[1].weight.new_zeros(n, 2, 1, width)  # type: ignore[union-attr]
        above = [_nothing(v, rows=layer.reach) for layer, v in zip(self._layers(), self._inputs(row))]
        for _ in range(height):
            told = self._down(row, above)
            row = torch.ones_like(row)
            yield from self._along(row, told)

    def _down(self, v: Tensor, above: list[Tensor]) -> list[Tensor]:
        """What every horizontal layer is told of the next row, which is under `v`; updates `above`."""
        found = []
        for number, layer in enumerate(self._layers()):
            v, told, above[number] = layer.vertical(v, above[number])
            found.append(told)
        return found

    def _along(self, row: Tensor, told: list[Tensor]) -> Generator[Tensor, Tensor | None, None]:
        """Outputs of one row; writes the bits that it is sent into `row` `[n, 2, 1, W]`."""
        pixel = torch.zeros_like(row[..., :1])
        before = [_nothing(h, columns=layer.reach) for layer, h in zip(self._layers(), self._inputs(pixel))]
        for column in range(row.shape[3]):
            h = pixel
            for number, layer in enumerate(self._layers()):
                h, before[number] = layer.horizontal(h, told[number][..., column : column + 1], before[number])
            bit = yield self.head(h).flatten()
            assert bit is not None
            row[:, 0, 0, column] = bit
            pixel = row[..., column : column + 1]

    def _layers(self) -> list[GatedLayer]:
        return [layer for layer in self.layers if isinstance(layer, GatedLayer)]

    def _inputs(self, first: Tensor) -> list[Tensor]:
        """A tensor like `first`, with as many channels as the inputs of each layer have."""
        return [first.new_zeros(len(first), layer.down.in_channels, *first.shape[2:]) for layer in self._layers()]


def _nothing(x: Tensor, rows: int | None = None, columns: int | None = None) -> Tensor:
    """Zeros like `x` but for their number of rows or columns: what is before the first."""
    height, width = x.shape[2] if rows is None else rows, x.shape[3] if columns is None else columns
    return x.new_zeros(len(x), x.shape[1], height, width).to(memory_format=torch.channels_last)
