"""The residual pair of spectrally normalised GANs (Miyato et al. 2018, Appendix B, the networks for CIFAR-10), for
images of any size and shape.

Sizes are those of `dcgan.pyramid`. The generator has a block for every step from the coarsest size to the image's. The
discriminator has one for every step down but the last, then two that keep the size: at 32 × 32 the generator goes from
4 × 4 through three blocks, the discriminator down to 8 × 8 through two and on through two more, as in the paper. All
blocks of a network have equally many channels.
"""

from collections.abc import Callable
from math import sqrt

from torch import Tensor, nn

from simulacra.networks.dcgan import Size, pyramid


def _glorot(layer: nn.Conv2d | nn.Linear, gain: float) -> nn.Module:
    """`layer` with weights uniform as in Glorot & Bengio 2010 (eq. 16), times `gain`, and biases zero."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _conv(inputs: int, outputs: int) -> nn.Module:
    """A 3 × 3 convolution of a residual branch; √2 makes up for what a ReLU takes (He et al. 2015)."""
    return _glorot(nn.Conv2d(inputs, outputs, 3, 1, 1), sqrt(2.0))


def _pointwise(inputs: int, outputs: int) -> nn.Module:
    """The 1 × 1 convolution of a shortcut."""
    return _glorot(nn.Conv2d(inputs, outputs, 1), 1.0)


class _Double(nn.Module):
    """Every pixel four times (nearest neighbour), cropped to `size`: `[N, C, h, w]` to `[N, C, *size]`."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size, self.twice = size, nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.twice(x)[..., : self.size[0], : self.size[1]]


def _halve() -> nn.Module:
    """Means of 2 × 2 pixels, rounding the size up: at an odd border, means of the pixels there are."""
    return nn.AvgPool2d(2, ceil_mode=True)


class UpBlock(nn.Module):
    """Batch norm, ReLU, doubling, 3 × 3, batch norm, ReLU, 3 × 3, plus the doubled input through 1 × 1; where `coarse`
    is `fine`, no doubling and the input itself.

    The shortcut convolves before it doubles: the same function at a quarter of the cost.
    """

    def __init__(self, channels: int, coarse: Size, fine: Size) -> None:
        super().__init__()
        doubles = coarse != fine
        resize = [_Double(fine)] if doubles else []
        self.residual = nn.Sequential(
            *(nn.BatchNorm2d(channels), nn.ReLU(), *resize, _conv(channels, channels)),
            *(nn.BatchNorm2d(channels), nn.ReLU(), _conv(channels, channels)),
        )
        self.shortcut = nn.Sequential(_pointwise(channels, channels), *resize) if doubles else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, *coarse]` to `[N, C, *fine]`."""
        return self.residual(x) + self.shortcut(x)


class DownBlock(nn.Module):
    """ReLU, 3 × 3, ReLU, 3 × 3, plus the input, both halved if `halve`; the input through 1 × 1 if that or the channels
    change. The `first` block, next to the image, has no ReLU before its first convolution.

    The shortcut halves before it convolves: the same function at a quarter of the cost.
    """

    def __init__(self, inputs: int, outputs: int, halve: bool, first: bool = False) -> None:
        super().__init__()
        resize = [_halve()] if halve else []
        begin = [] if first else [nn.ReLU()]
        self.residual = nn.Sequential(*begin, _conv(inputs, outputs), nn.ReLU(), _conv(outputs, outputs), *resize)
        change = halve or inputs != outputs
        self.shortcut = nn.Sequential(*resize, _pointwise(inputs, outputs)) if change else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`[N, inputs, H, W]` to `[N, outputs, H', W']`."""
        return self.residual(x) + self.shortcut(x)


class ResidualGenerator(nn.Module):
    """From a vector `[N, latent]` to an image `[N, C, H, W]`: a linear layer to `width` channels at the coarsest size,
    a block per step up, then batch norm, ReLU, 3 × 3 and `final`. The paper's has a width of 256."""

    def __init__(
        self, latent: int, shape: tuple[int, int, int], width: int, final: Callable[[], nn.Module] = nn.Tanh
    ) -> None:
        super().__init__()
        sizes = pyramid(*shape[1:])[::-1]
        height, wide = sizes[0]
        self.layers = nn.Sequential(
            _glorot(nn.Linear(latent, width * height * wide), 1.0),
            nn.Unflatten(1, (width, height, wide)),
            *(UpBlock(width, coarse, fine) for coarse, fine in zip(sizes, sizes[1:])),
            *(nn.BatchNorm2d(width), nn.ReLU(), _glorot(nn.Conv2d(width, shape[0], 3, 1, 1), 1.0), final()),
        )

    def forward(self, z: Tensor) -> Tensor:
        """`[N, latent]` to `[N, C, H, W]`."""
        return self.layers(z)


class ResidualDiscriminator(nn.Module):
    """From an image `[N, C, H, W]` to `[N, outputs]`: blocks, ReLU, the sum over all positions, a linear layer; without
    batch norm. The paper's has a width of 128."""

    def __init__(self, shape: tuple[int, int, int], outputs: int, width: int) -> None:
        super().__init__()
        sizes = pyramid(*shape[1:])[:-1]
        halves = [fine != coarse for fine, coarse in zip(sizes, sizes[1:])] + [False, False]
        first, *others = halves
        self.blocks = nn.Sequential(
            DownBlock(shape[0], width, first, first=True),
            *(DownBlock(width, width, halve) for halve in others),
            nn.ReLU(),
        )
        self.score = _glorot(nn.Linear(width, outputs), 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, outputs]`."""
        return self.score(self.blocks(x).sum((2, 3)))
