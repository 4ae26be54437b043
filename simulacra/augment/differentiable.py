"""Differentiable augmentation (Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training").

The discriminator sees T(x) and T(G(z)) in place of images, in both players' moves, and the generator is trained
through T. Images are `[N, C, H, W]` in [−1, 1], of any size and any number of channels; uniform numbers u `[N, k]` on
[0, 1), k by `numbers`. Ranges are the paper's, and so are the zeros, which are a middle grey. Results of `color` may
leave [−1, 1]. Everything is differentiable in x any number of times.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from simulacra.augment.laws import between, integers
from simulacra.errors import unknown


def color(x: Tensor, u: Tensor) -> Tensor:
    """Brightness by u₀, saturation by u₁, contrast by u₂, of u `[N, 3]`."""
    first, second, third = u.unbind(1)
    return contrast(saturation(brightness(x, first), second), third)


def brightness(x: Tensor, u: Tensor) -> Tensor:
    """A number within ±½ added to all pixels, 0 at u = ½; u `[N]`."""
    return x + _each(between(u, -0.5, 0.5))


def saturation(x: Tensor, u: Tensor) -> Tensor:
    """Each pixel's distance from the mean of its channels times 0 … 2, once at u = ½; u `[N]`. Nothing for one
    channel."""
    grey = x.mean(1, keepdim=True)
    return grey + (x - grey) * _each(between(u, 0.0, 2.0))


def contrast(x: Tensor, u: Tensor) -> Tensor:
    """Distances from the mean of the image times ½ … 1½, once at u = ½; u `[N]`."""
    grey = x.mean((1, 2, 3), keepdim=True)
    return grey + (x - grey) * _each(between(u, 0.5, 1.5))


def translation(x: Tensor, u: Tensor) -> Tensor:
    """Moved down by u₀ and right by u₁, of u `[N, 2]`, by whole pixels, at most an eighth of the size (rounded) either
    way; zeros come in."""
    x = _moved(x, _shift(u[:, 0], x.shape[2]), axis=2)
    return _moved(x, _shift(u[:, 1], x.shape[3]), axis=3)


def _shift(u: Tensor, size: int) -> Tensor:
    most = int(size / 8 + 0.5)
    return integers(u, 2 * most + 1) - most


def _moved(x: Tensor, by: Tensor, axis: int) -> Tensor:
    """Row n moved by `by[n]` places along `axis`, zeros coming in."""
    size = x.shape[axis]
    source = torch.arange(size, device=x.device) - by[:, None]
    shape = [len(x), 1, 1, 1]
    shape[axis] = size
    index = source.clamp(0, size - 1).view(shape).expand(x.shape)
    return x.gather(axis, index).masked_fill((source != source.clamp(0, size - 1)).view(shape), 0.0)


def cutout(x: Tensor, u: Tensor) -> Tensor:
    """Zeros in a rectangle of half the height and half the width (rounded), its centre anywhere in the image: from top
    to bottom by u₀, from left to right by u₁, of u `[N, 2]`."""
    rows, columns = _covered(u[:, 0], x.shape[2]), _covered(u[:, 1], x.shape[3])
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _covered(u: Tensor, size: int) -> Tensor:
    """Which places of 0 … size−1 the cut covers, `[N, size]`. An even cut is centred between pixels, edges included, an
    odd one on a pixel."""
    length = int(size / 2 + 0.5)
    first = integers(u, size + 1 - length % 2) - length // 2
    place = torch.arange(size, device=u.device) - first[:, None]
    return (place >= 0) & (place < length)


def _each(value: Tensor) -> Tensor:
    return value[:, None, None, None]


class Policy(NamedTuple):
    """An augmentation of images `[N, C, H, W]` by uniform numbers `[N, numbers]`."""

    apply: Callable[[Tensor, Tensor], Tensor]
    numbers: int


POLICIES = {"color": Policy(color, 3), "translation": Policy(translation, 2), "cutout": Policy(cutout, 2)}
"""The paper's policies by name. Each is usually taken beside the others: all three, where data are few."""


def numbers(names: Iterable[str]) -> int:
    """How many uniform numbers per row `augment` needs. Raises UserError for an unknown name."""
    return sum(_policy(name).numbers for name in names)


def augment(x: Tensor, u: Tensor, names: Iterable[str]) -> Tensor:
    """The named augmentations of x `[N, C, H, W]`, one after the other, by u `[N, numbers(names)]`.

    Raises UserError for an unknown name, ValueError for another number of numbers."""
    policies = [_policy(name) for name in names]
    for policy, part in zip(policies, u.split([policy.numbers for policy in policies], dim=1)):
        x = policy.apply(x, part)
    return x


def _policy(name: str) -> Policy:
    if name not in POLICIES:
        raise unknown("augmentation", name, POLICIES)
    return POLICIES[name]
