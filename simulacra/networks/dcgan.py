"""The strided convolutional pair of DCGAN (Radford, Metz & Chintala 2016), for images of any size and shape.

An image of H × W is halved (rounding up) while its smaller side is at least 7, so depth follows from size: 28 × 28
goes through 14 × 14 and 7 × 7 to 4 × 4, 64 × 48 through three halvings to 8 × 6. Images too small for two halvings get
layers that keep the size instead. With a dense layer between the vector and the convolutions, as in InfoGAN (Chen et
al. 2016, appendix C.1), these stop at 7 × 7.
"""

from collections.abc import Callable

from torch import Tensor, nn

from simulacra.networks.activations import ACTIVATIONS

Size = tuple[int, int]


def pyramid(height: int, width: int, least: int = 4) -> list[Size]:
    """The sizes from the image's own to the coarsest, whose smaller side is `least` or more; three at least."""
    sizes = [(height, width)]
    while min(sizes[-1]) > 2 * least - 2:
        h, w = sizes[-1]
        sizes.append((-(-h // 2), -(-w // 2)))
    return sizes + sizes[-1:] * (3 - len(sizes))


def _sizes(shape: tuple[int, int, int], dense: int) -> list[Size]:
    return pyramid(*shape[1:], least=7 if dense else 4)


def _channels(width: int, level: int) -> int:
    """Channels `level` steps away from the image: doubled each time, up to eight times the base width."""
    return width * min(2 ** (level - 1), 8)


def _norm(channels: int, batch_norm: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if batch_norm else []


def _dense(inputs: int, units: int, batch_norm: bool, activation: nn.Module) -> list[nn.Module]:
    """A fully connected layer; none of 0 units."""
    if not units:
        return []
    norm = [nn.BatchNorm1d(units)] if batch_norm else []
    return [nn.Linear(inputs, units, bias=not norm), *norm, activation]


def _up(inputs: int, outputs: int, coarse: Size, fine: Size, bias: bool) -> nn.Module:
    """A transposed convolution that doubles the size, or a plain one that keeps it."""
    if coarse == fine:
        return nn.Conv2d(inputs, outputs, 3, 1, 1, bias=bias)
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias)


def _down(inputs: int, outputs: int, fine: Size, coarse: Size, bias: bool) -> nn.Module:
    """A convolution that halves the size, rounding up, or one that keeps it."""
    if coarse == fine:
        return nn.Conv2d(inputs, outputs, 3, 1, 1, bias=bias)
    halve = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=bias)
    odd = (0, 2 * coarse[1] - fine[1], 0, 2 * coarse[0] - fine[0])
    return nn.Sequential(nn.ZeroPad2d(odd), halve) if any(odd) else halve


class Upsampler(nn.Module):
    """From a vector `[N, inputs]` to an image `[N, C, H, W]`: a linear layer to the coarsest size, then transposed
    4 × 4 convolutions of stride 2, cropped where a size is odd. `constant`: equally many channels everywhere. `dense`:
    units of a layer before all that; 0 for none."""

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, int, int],
        width: int,
        batch_norm: bool = True,
        final: Callable[[], nn.Module] = nn.Tanh,
        activation: Callable[[], nn.Module] = nn.ReLU,
        constant: bool = False,
        dense: int = 0,
    ) -> None:
        super().__init__()
        self.sizes = _sizes(shape, dense)[::-1]
        channels = [_channels(width, 1 if constant else level) for level in range(len(self.sizes) - 1, 0, -1)]
        coarse = self.sizes[0]
        self.start = nn.Sequential(
            *_dense(inputs, dense, batch_norm, activation()),
            nn.Linear(dense or inputs, channels[0] * coarse[0] * coarse[1], bias=not batch_norm),
            nn.Unflatten(1, (channels[0], *coarse)),
            *_norm(channels[0], batch_norm),
            activation(),
        )
        self.steps = nn.ModuleList(
            nn.Sequential(_up(a, b, small, large, not batch_norm), *_norm(b, batch_norm), activation())
            for a, b, small, large in zip(channels, channels[1:], self.sizes, self.sizes[1:])
        )
        self.steps.append(nn.Sequential(_up(width, shape[0], *self.sizes[-2:], bias=True), final()))

    def forward(self, z: Tensor) -> Tensor:
        """`[N, inputs]` to `[N, C, H, W]`."""
        x = self.start(z)
        for step, (height, width) in zip(self.steps, self.sizes[1:]):
            x = step(x)[..., :height, :width]
        return x


class Downsampler(nn.Module):
    """From an image `[N, C, H, W]` to `[N, outputs]`: 4 × 4 convolutions of stride 2, each followed by `activation`, a
    layer of `dense` units where that is not 0, then a linear layer. Batch norm leaves out the layer next to the
    image."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        width: int,
        batch_norm: bool = True,
        activation: Callable[[], nn.Module] = ACTIVATIONS["leaky"],
        dense: int = 0,
    ) -> None:
        super().__init__()
        sizes = _sizes(shape, dense)
        channels = [shape[0], *(_channels(width, level) for level in range(1, len(sizes)))]
        layers: list[nn.Module] = []
        for level, (a, b, fine, coarse) in enumerate(zip(channels, channels[1:], sizes, sizes[1:])):
            norm = _norm(b, batch_norm and level > 0)
            layers += [_down(a, b, fine, coarse, bias=not norm), *norm, activation()]
        flat = channels[-1] * sizes[-1][0] * sizes[-1][1]
        layers += [nn.Flatten(), *_dense(flat, dense, batch_norm, activation())]
        self.layers = nn.Sequential(*layers, nn.Linear(dense or flat, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, outputs]`."""
        return self.layers(x)


def initialise(module: nn.Module) -> None:
    """DCGAN's start: weights from N(0, 0.02²) (§4 of the paper); batch norm's scales from N(1, 0.02²), biases zero, as
    in the code of one of the authors (soumith/dcgan.torch)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
