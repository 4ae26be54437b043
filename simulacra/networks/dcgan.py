"""The strided convolutional pair of DCGAN (Radford, Metz & Chintala 2016), for images of any size and shape.

An image of H × W is halved (rounding up) while its smaller side is at least 7, so depth follows from size: 28 × 28
goes through 14 × 14 and 7 × 7 to 4 × 4, 64 × 48 through four halvings to 4 × 3.
"""

from collections.abc import Callable

from torch import Tensor, nn


def pyramid(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes from the image's own down to the coarsest."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= 7:
        h, w = sizes[-1]
        sizes.append((-(-h // 2), -(-w // 2)))
    return sizes


def _norm(channels: int, batch_norm: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if batch_norm else []


def _channels(width: int, level: int) -> int:
    """Channels after `level` halvings: doubled each time, up to eight times the base width."""
    return width * min(2 ** max(level - 1, 0), 8)


class Upsampler(nn.Module):
    """From a vector `[N, inputs]` to an image `[N, C, H, W]`: a linear layer to the coarsest size, then transposed
    4 × 4 convolutions of stride 2, cropped where a size is odd."""

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, int, int],
        width: int,
        batch_norm: bool = True,
        final: Callable[[], nn.Module] = nn.Tanh,
    ) -> None:
        super().__init__()
        self.sizes = pyramid(*shape[1:])[::-1]
        levels = range(len(self.sizes) - 1, -1, -1)
        channels = [_channels(width, level) for level in levels]
        coarse = self.sizes[0]
        self.start = nn.Sequential(
            nn.Linear(inputs, channels[0] * coarse[0] * coarse[1], bias=not batch_norm),
            nn.Unflatten(1, (channels[0], *coarse)),
            *_norm(channels[0], batch_norm),
            nn.ReLU(),
        )
        self.steps = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=not batch_norm), *_norm(b, batch_norm), nn.ReLU())
            for a, b in zip(channels[:-2], channels[1:-1])
        )
        last = (
            nn.ConvTranspose2d(channels[-2], shape[0], 4, 2, 1)
            if len(channels) > 1
            else nn.Conv2d(width, shape[0], 3, 1, 1)
        )
        self.end = nn.Sequential(last, final())

    def forward(self, z: Tensor) -> Tensor:
        """`[N, inputs]` to `[N, C, H, W]`."""
        x = self.start(z)
        for step, (height, width) in zip((*self.steps, self.end), self.sizes[1:] or self.sizes):
            x = step(x)[..., :height, :width]
        return x


class Downsampler(nn.Module):
    """From an image `[N, C, H, W]` to `[N, outputs]`: 4 × 4 convolutions of stride 2, leaky ReLU, then a linear layer.

    `normalise` wraps each layer with weights (spectral norm, say)."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        width: int,
        batch_norm: bool = True,
        normalise: Callable[[nn.Module], nn.Module] = lambda layer: layer,
    ) -> None:
        super().__init__()
        sizes = pyramid(*shape[1:])
        layers: list[nn.Module] = []
        channels = shape[0]
        for level, (height, wide) in enumerate(sizes[1:], start=1):
            odd = (0, wide * 2 - sizes[level - 1][1], 0, height * 2 - sizes[level - 1][0])
            layers += [nn.ZeroPad2d(odd)] if any(odd) else []
            after = _channels(width, level)
            norm = _norm(after, batch_norm and level > 1)
            layers += [normalise(nn.Conv2d(channels, after, 4, 2, 1, bias=not norm)), *norm, nn.LeakyReLU(0.2)]
            channels = after
        if len(sizes) == 1:
            layers += [normalise(nn.Conv2d(channels, width, 3, 1, 1)), nn.LeakyReLU(0.2)]
            channels = width
        coarse = sizes[-1]
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), normalise(nn.Linear(channels * coarse[0] * coarse[1], outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, outputs]`."""
        return self.layers(x)


def initialise(module: nn.Module) -> None:
    """DCGAN's start: weights from N(0, 0.02²), batch norm's scales from N(1, 0.02²), biases zero (§4 of the paper)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.BatchNorm2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
