"""Invertible layers with a Jacobian whose determinant is cheap (Dinh, Sohl-Dickstein & Bengio 2017, "Density estimation
using Real NVP", arXiv:1605.08803; equations are its).

Each maps x `[N, ...]` to y and log |det ∂y/∂x| `[N]` in nats, and back by `inverse`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from math import log, prod

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, relu

from simulacra.networks.mlp import MLP
from simulacra.precision import full_precision, widen


class Invertible(nn.Module, ABC):
    """A bijection."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y and log |det ∂y/∂x| `[N]`."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """The x that is mapped to y."""


class AffineCoupling(Invertible):
    """y = b ⊙ x + (1 − b) ⊙ (x ⊙ exp(s(b ⊙ x)) + t(b ⊙ x)) (eq. 9), b a mask of zeros and ones `[...]`.

    `network` gives both s and t `[N, 2C, ...]`; s is a tanh with a learned factor (§4.1). It begins as the identity
    where the network begins at zero.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, network: nn.Module) -> None:
        super().__init__()
        self.network, self.factor = network, nn.Parameter(torch.ones(mask.shape))
        self.register_buffer("mask", mask, persistent=False)

    def _parts(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """s and t `[N, ...]`, zero where the mask is one."""
        s, t = widen(self.network(kept)).chunk(2, 1)
        return (1.0 - self.mask) * self.factor * s.tanh(), (1.0 - self.mask) * t

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y and log |det ∂y/∂x| = Σ (1 − b) ⊙ s (eq. 6)."""
        s, t = self._parts(self.mask * x)
        return x * s.exp() + t, s.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """(y − t) ⊙ exp(−s), of s and t at the kept numbers, which y has too (eq. 8)."""
        s, t = self._parts(self.mask * y)
        return (y - t) * (-s).exp()


class Chain(Invertible):
    """One bijection after another."""

    def __init__(self, parts: Iterable[Invertible]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def _parts(self) -> list[Invertible]:
        return [part for part in self.parts if isinstance(part, Invertible)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Determinants multiply."""
        total = x.new_zeros(len(x))
        for part in self._parts():
            x, volume = part(x)
            total = total + volume
        return x, total

    def inverse(self, y: Tensor) -> Tensor:
        """Back from the last to the first."""
        for part in reversed(self._parts()):
            y = part.inverse(y)
        return y


class Scales(Invertible):
    """Images `[N, C, H, W]` to vectors `[N, C·H·W]`, on several scales (§3.6).

    Couplings with checkerboards; then each 2 × 2 pixels become four channels, couplings that mask channels follow, half
    of the channels go into the vector as they are (eq. 14), and the other half on to the next scale. The last scale has
    checkerboards alone, one more. `network(C)` makes what a coupling of C channels asks.
    """

    def __init__(
        self, shape: tuple[int, int, int], scales: int, couplings: int, network: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        channels, height, width = shape
        inner = (2 * channels, height // 2, width // 2)
        boards, halves = checkerboard(height, width), channel_halves(4 * channels)
        if scales == 1:
            self.fine, self.coarse, self.rest = _couplings(boards, couplings + 1, channels, network), None, None
        else:
            self.fine = _couplings(boards, couplings, channels, network)
            self.coarse = _couplings(halves, couplings, 4 * channels, network)
            self.rest = Scales(inner, scales - 1, couplings, network)
        self.shape, self.kept = shape, inner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors, whose first half left at this scale, and the determinant."""
        y, total = self.fine(x)
        if self.coarse is None or self.rest is None:
            return y.flatten(1), total
        y, volume = self.coarse(_squeezed(y))
        kept, passed = y.chunk(2, 1)
        z, more = self.rest(passed)
        return torch.cat([kept.flatten(1), z], 1), total + volume + more

    def inverse(self, y: Tensor) -> Tensor:
        """Images of vectors."""
        if self.coarse is None or self.rest is None:
            return self.fine.inverse(y.view(-1, *self.shape))
        kept, z = y.split(prod(self.kept), 1)
        whole = torch.cat([kept.view(-1, *self.kept), self.rest.inverse(z)], 1)
        return self.fine.inverse(_spread(self.coarse.inverse(whole)))


def _squeezed(x: Tensor) -> Tensor:
    """2 × 2 pixels of a channel, `[N, C, 2H, 2W]`, as four channels `[N, 4C, H, W]`. torch leaves no rows as they
    are."""
    n, c, h, w = x.shape
    return pixel_unshuffle(x, 2) if n else x.view(0, 4 * c, h // 2, w // 2)


def _spread(x: Tensor) -> Tensor:
    """The inverse of that."""
    n, c, h, w = x.shape
    return pixel_shuffle(x, 2) if n else x.view(0, c // 4, 2 * h, 2 * w)


def _couplings(mask: Tensor, number: int, channels: int, network: Callable[[int], nn.Module]) -> Chain:
    """Couplings that keep what the mask says and the rest in turn."""
    masks = (mask, 1.0 - mask)
    return Chain(AffineCoupling(masks[k % 2], network(channels)) for k in range(number))


def alternating(dimensions: int, couplings: int, width: int, depth: int) -> Chain:
    """Couplings of vectors `[N, D]`, D ≥ 2, that keep the even and the odd coordinates in turn; perceptrons of `depth`
    layers of `width` units, exact at both ends, give s and t."""

    def network(channels: int) -> nn.Module:
        made = MLP((channels,), (2 * channels,), width, depth, exact=True)
        return _from_zero(made, next(layer for layer in reversed([*made.modules()]) if isinstance(layer, nn.Linear)))

    return _couplings(1.0 - torch.arange(dimensions) % 2, couplings, dimensions, network)


def checkerboard(height: int, width: int) -> Tensor:
    """Ones where row and column are both even or both odd, else zeros: `[1, H, W]` (figure 3)."""
    return 1.0 - (torch.arange(height)[:, None] + torch.arange(width)) % 2 * torch.ones(1, 1, 1)


def channel_halves(channels: int) -> Tensor:
    """Ones for the first half of the channels `[C, 1, 1]`."""
    return (torch.arange(channels) < channels // 2).to(torch.get_default_dtype())[:, None, None]


class CouplingNetwork(nn.Module):
    """Residual blocks of 3 × 3 convolutions, `[N, C, H, W]` to s and t `[N, 2C, H, W]`, zero at first (§4.1, without
    its normalisations)."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
            )
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(width, 2 * channels, 3, padding=1)
        _from_zero(self, self.last)

    def forward(self, x: Tensor) -> Tensor:
        """s before its tanh, and t."""
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.last(relu(h))


def _from_zero(network: nn.Module, last: nn.Linear | nn.Conv2d) -> nn.Module:
    """`network`, whose `last` layer begins at zero."""
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    return network


class LogitOfLevels(Invertible):
    """Dequantised brightness x in [0, 256)ᴰ to logit(α + (1 − 2α) x / 256) (Papamakarios, Pavlakou & Murray 2017,
    appendix E; §4.1 here), which has no bounds."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Real values in the shape of x, and the determinant."""
        with full_precision(x.device):
            scale = (1.0 - 2.0 * self.alpha) / 256.0
            p = self.alpha + scale * x
            slope = log(scale) - p.log() - (1.0 - p).log()
            return p.logit(), slope.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Brightness, a little below 0 or above 256 for values that no image is mapped to."""
        with full_precision(y.device):
            return (y.sigmoid() - self.alpha) * 256.0 / (1.0 - 2.0 * self.alpha)
