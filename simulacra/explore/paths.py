"""Ways from one latent to another."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from simulacra.capabilities import HasPrior
from simulacra.errors import UserError
from simulacra.explore.prior import draws, spherical_part
from simulacra.metrics.path_length import lerp, slerp

Way = Literal["auto", "linear", "spherical"]
WAYS: tuple[Way, ...] = ("auto", "linear", "spherical")
Interpolation = Callable[[Tensor, Tensor, Tensor], Tensor]
OPPOSITE = 1e-3  # radians short of π from which on no great circle is told from another


class Path(NamedTuple):
    """`between(a, b, shares)` gives points `[T, N, J]` at shares `[T]` of the ways from latents a `[N, J]` to b; `note`
    says in words why it is none other, where that was not asked for."""

    between: Interpolation
    note: str | None = None


def linear(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """Points `[T, N, J]` at `shares` `[T]` of the straight ways from `a` `[N, J]` to `b`."""
    return torch.stack([lerp(a, b, share.expand(len(a))) for share in shares.to(a)])


def spherical(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """Points `[T, N, J]` at `shares` `[T]` of the ways from `a` `[N, J]` to `b` along great circles (Shoemake 1985,
    §3.3), as White (2016, §2) walks through normal latents: no point is nearer to the origin than the nearer end.

    The direction turns at an even speed and the length changes evenly. Where `a` and `b` are parallel, or one is zero,
    there is nothing to turn: the way is straight. Where they are opposite (within 1e-3 radians) infinitely many great
    circles join them: the one taken leads through the direction of the axis in which `a` is smallest, made orthogonal
    to `a`. With J = 1 there is none, and the way is straight, through zero.
    """
    middle = _aside(a, b)
    points = [_turned(a, middle, b, share.expand(len(a))) for share in shares.to(a)]
    return torch.stack(points)


def partly(part: Tensor) -> Interpolation:
    """Great circles in the coordinates of `part`, bool `[J]`, and straight ways in the others."""

    def between(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
        points, chosen = linear(a, b, shares), part.to(a.device)
        points[..., chosen] = spherical(a[:, chosen], b[:, chosen], shares)
        return points

    return between


def _turned(a: Tensor, middle: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """On the way from `a` to `b`, by way of `middle` where the two are opposite."""
    if a.shape[1] == 1:
        return lerp(a, b, share)
    half = 2.0 * share
    around = torch.where((half <= 1.0)[:, None], slerp(a, middle, half), slerp(middle, b, half - 1.0))
    return torch.where(_opposite(a, b)[:, None], around, slerp(a, b, share))


def _opposite(a: Tensor, b: Tensor) -> Tensor:
    """Which rows `[N]` are opposite."""
    long, other = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    short = (a / long.clamp_min(1e-30) + b / other.clamp_min(1e-30)).norm(dim=1)  # π − angle, where that is small
    return (short < OPPOSITE) & (long * other > 0).flatten()


def _aside(a: Tensor, b: Tensor) -> Tensor:
    """A latent `[N, J]` orthogonal to each of `a`, half-way between both in length."""
    u = a / a.norm(dim=1, keepdim=True).clamp_min(1e-30)
    axis = torch.nn.functional.one_hot(a.abs().argmin(1), a.shape[1]).to(a)
    across = axis - (axis * u).sum(1, keepdim=True) * u
    length = 0.5 * (a.norm(dim=1, keepdim=True) + b.norm(dim=1, keepdim=True))
    return length * across / across.norm(dim=1, keepdim=True).clamp_min(1e-30)


def path(model: HasPrior, way: Way = "auto") -> Path:
    """How to go from latent to latent of `model`'s prior.

    `auto` is spherical where the prior is, for all latents or for those of them that have such a law together
    (`prior.spherical_part`), and linear elsewhere: on great circles through latents of a uniform prior, say, points
    would leave the cube that the decoder knows. `spherical` is refused where none has.

    Raises:
        UserError: an unknown way, or a spherical one on a prior that is not so anywhere.
    """
    if way not in WAYS:
        raise UserError(f"path '{way}' is not known: auto, linear or spherical")
    if way == "linear":
        return Path(linear)
    part = spherical_part(draws(model))
    if part.all():
        return Path(spherical)
    if part.any():
        count = int(part.sum())
        return Path(partly(part), f"great circles in {count} of {len(part)} latents, straight paths in the others")
    if way == "spherical":
        raise UserError(
            "the prior has no spherical symmetry (uniform, say): great circles leave it; take --path linear"
        )
    return Path(linear, "straight paths: the prior has no spherical symmetry")
