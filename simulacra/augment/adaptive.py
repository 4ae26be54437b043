"""Adaptive discriminator augmentation (Karras et al. 2020, "Training Generative Adversarial Networks with Limited
Data"; sections are its).

The pipeline is the paper's choice: pixel blitting, general geometric and colour transformations, without filters and
corruptions (§2.3 and appendix B). Each transformation strikes a row with probability p, independently of the others;
as long as p stays below about 0.8 they do not leak into samples (§2.2). All geometric ones are composed into one matrix
and images resampled once, as in the paper, but by plain bilinear interpolation where the paper has wavelet filters at
twice the resolution.

Colours are in [−1, 1] and may leave it. Noise is given: `NUMBERS` uniform numbers on [0, 1) per row, for each
transformation one that says whether and then those that say how much.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from math import log, pi, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from simulacra.augment.laws import between, integers, normal
from simulacra.precision import widen

Shape = tuple[int, int, int]


class Transformation(NamedTuple):
    """Matrices `[N, d, d]` by uniform numbers `[N, numbers]` and the shape (C, H, W) of images.

    `doubled`: one of two alike, each with probability 1 − √(1 − p), so that one of them or both strike with p.
    """

    name: str
    numbers: int
    matrix: Callable[[Tensor, Shape], Tensor]
    doubled: bool = False


# From the place of an output pixel to that of the input pixel: (x, y, 1) in pixels from the centre, x to the right and
# y down. Each matrix is so the inverse of the transformation that its name tells.


def _affine(*entries: Tensor | float) -> Tensor:
    """`[N, 3, 3]` with last row (0, 0, 1), from the six entries of the rows above."""
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    rows = [entry if isinstance(entry, Tensor) else torch.full_like(like, entry) for entry in (*entries, 0.0, 0.0, 1.0)]
    return torch.stack(rows, 1).unflatten(1, (3, 3))


def _flip(u: Tensor, shape: Shape) -> Tensor:
    """Mirrored left to right, or not: i ~ U{0, 1}."""
    return _affine(1.0 - 2.0 * integers(u[:, 0], 2).to(u.dtype), 0.0, 0.0, 0.0, 1.0, 0.0)


def _quarter_turns(u: Tensor, shape: Shape) -> Tensor:
    """Turned clockwise by i ~ U{0, …, 3} right angles; images that are not square are left as they are."""
    turns = integers(u[:, 0], 4 if shape[1] == shape[2] else 1)
    cosine = torch.tensor([1.0, 0.0, -1.0, 0.0], dtype=u.dtype, device=u.device)
    c, s = cosine[turns], cosine[(turns + 3) % 4]
    return _affine(c, s, 0.0, -s, c, 0.0)


def _whole_shift(u: Tensor, shape: Shape) -> Tensor:
    """Moved by whole pixels, right and down: t ~ U(−0.125, 0.125) of the size."""
    x, y = (between(u[:, k], -0.125, 0.125) for k in (0, 1))
    return _affine(1.0, 0.0, -(x * shape[2]).round(), 0.0, 1.0, -(y * shape[1]).round())


def _isotropic(u: Tensor, shape: Shape) -> Tensor:
    """Larger by s ~ Lognormal(0, (0.2 ln 2)²)."""
    inverse = _lognormal(u[:, 0], -0.2)
    return _affine(inverse, 0.0, 0.0, 0.0, inverse, 0.0)


def _rotation(u: Tensor, shape: Shape) -> Tensor:
    """Turned clockwise by θ ~ U(−π, π)."""
    theta = between(u[:, 0], -pi, pi)
    c, s = theta.cos(), theta.sin()
    return _affine(c, s, 0.0, -s, c, 0.0)


def _anisotropic(u: Tensor, shape: Shape) -> Tensor:
    """Wider by s ~ Lognormal(0, (0.2 ln 2)²) and lower by it."""
    return _affine(_lognormal(u[:, 0], -0.2), 0.0, 0.0, 0.0, _lognormal(u[:, 0], 0.2), 0.0)


def _shift(u: Tensor, shape: Shape) -> Tensor:
    """Moved right and down: t ~ N(0, 0.125²) of the size."""
    x, y = (0.125 * normal(u[:, k]) for k in (0, 1))
    return _affine(1.0, 0.0, -x * shape[2], 0.0, 1.0, -y * shape[1])


# Of colours, (channels, 1).


def _of_channels(linear: Tensor, added: Tensor | None = None) -> Tensor:
    """`[N, C + 1, C + 1]` from C × C matrices and what is added to all channels `[N]`."""
    n, c = linear.shape[:2]
    column = linear.new_zeros(n, c, 1) if added is None else added[:, None, None].expand(n, c, 1)
    last = torch.eye(c + 1, dtype=linear.dtype, device=linear.device)[-1:].expand(n, 1, c + 1)
    return torch.cat([torch.cat([linear, column], 2), last], 1)


def _scaled(scale: Tensor, channels: int) -> Tensor:
    """Identity matrices `[N, C, C]` times `scale` `[N]`."""
    return scale[:, None, None] * torch.eye(channels, dtype=scale.dtype, device=scale.device)


def _grey_axis(like: Tensor) -> Tensor:
    """vvᵀ for the axis of greys, v = (1, 1, 1)/√3."""
    return torch.full((3, 3), 1.0 / 3.0, dtype=like.dtype, device=like.device)


def _brightness(u: Tensor, shape: Shape) -> Tensor:
    """b ~ N(0, 0.2²) added."""
    added = 0.2 * normal(u[:, 0])
    return _of_channels(_scaled(torch.ones_like(added), shape[0]), added)


def _contrast(u: Tensor, shape: Shape) -> Tensor:
    """Times c ~ Lognormal(0, (0.5 ln 2)²)."""
    return _of_channels(_scaled(_lognormal(u[:, 0], 0.5), shape[0]))


def _luma_flip(u: Tensor, shape: Shape) -> Tensor:
    """Mirrored at the plane of no grey, or not: I − 2 vvᵀ i, i ~ U{0, 1}."""
    flips = integers(u[:, 0], 2).to(u.dtype)[:, None, None]
    return _of_channels(torch.eye(3, dtype=u.dtype, device=u.device) - 2.0 * flips * _grey_axis(u))


def _hue(u: Tensor, shape: Shape) -> Tensor:
    """Turned about the axis of greys by θ ~ U(−π, π), red towards green."""
    theta = between(u[:, 0], -pi, pi)[:, None, None]
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], dtype=u.dtype, device=u.device)
    grey = _grey_axis(u)
    others = torch.eye(3, dtype=u.dtype, device=u.device) - grey
    return _of_channels(grey + theta.cos() * others + theta.sin() * cross / sqrt(3.0))


def _saturation(u: Tensor, shape: Shape) -> Tensor:
    """Distances from grey times s ~ Lognormal(0, (ln 2)²)."""
    scale, grey = _lognormal(u[:, 0], 1.0)[:, None, None], _grey_axis(u)
    return _of_channels(grey + scale * (torch.eye(3, dtype=u.dtype, device=u.device) - grey))


def _lognormal(u: Tensor, octaves: float) -> Tensor:
    """2 to the power of a normal number of that standard deviation."""
    return (octaves * log(2.0) * normal(u)).exp()


GEOMETRY = (
    Transformation("flip", 1, _flip),
    Transformation("quarter-turns", 1, _quarter_turns),
    Transformation("whole-shift", 2, _whole_shift),
    Transformation("isotropic", 1, _isotropic),
    Transformation("rotation-before", 1, _rotation, doubled=True),
    Transformation("anisotropic", 1, _anisotropic),
    Transformation("rotation-after", 1, _rotation, doubled=True),
    Transformation("shift", 2, _shift),
)
"""In the order in which they strike an image: the first three are the paper's pixel blitting."""
OF_ALL_CHANNELS = (Transformation("brightness", 1, _brightness), Transformation("contrast", 1, _contrast))
OF_COLOURS = (
    Transformation("luma-flip", 1, _luma_flip),
    Transformation("hue", 1, _hue),
    Transformation("saturation", 1, _saturation),
)
"""For images of three channels; all others get `OF_ALL_CHANNELS` only."""
TRANSFORMATIONS = (*GEOMETRY, *OF_ALL_CHANNELS, *OF_COLOURS)
NUMBERS = sum(1 + each.numbers for each in TRANSFORMATIONS)
"""Uniform numbers per row, in the order of `TRANSFORMATIONS`, whatever the shape of the images."""


def adaptive(x: Tensor, u: Tensor, p: Tensor | float) -> Tensor:
    """Images x `[N, C, H, W]` in [−1, 1], augmented with probability p, a number or scalar tensor in [0, 1], by uniform
    numbers u `[N, NUMBERS]`, in float32 or better; x itself at p = 0.

    Differentiable in x any number of times. Makes about four copies of the images, and indices `[N, H, W]`.
    """
    if u.shape != (len(x), NUMBERS):
        raise ValueError(f"{len(x)} rows need as many times {NUMBERS} numbers, not {list(u.shape)}")
    x, u = widen(x), widen(u)
    colours = TRANSFORMATIONS if x.shape[1] == 3 else GEOMETRY + OF_ALL_CHANNELS
    places, channels = [], []
    for each, matrix in _struck(u, torch.as_tensor(p, dtype=u.dtype, device=u.device), _shape(x), colours):
        (places if each in GEOMETRY else channels).append(matrix)
    return recoloured(resampled(x, reduce(_product, places)), reduce(_product, reversed(channels)))


def _shape(x: Tensor) -> Shape:
    _, channels, height, width = x.shape
    return channels, height, width


def _struck(
    u: Tensor, p: Tensor, shape: Shape, transformations: Iterable[Transformation]
) -> Iterator[tuple[Transformation, Tensor]]:
    """Each transformation with its matrices, identities for the rows that it spares."""
    first = 0
    for each in transformations:
        whether, numbers = u[:, first], u[:, first + 1 : first + 1 + each.numbers]
        first += 1 + each.numbers
        chance = 1.0 - (1.0 - p).sqrt() if each.doubled else p
        matrix = each.matrix(numbers, shape)
        same = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        yield each, torch.where((whether < chance)[:, None, None], matrix, same)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """ab of matrices `[N, d, d]`, exact where one is the identity, in any autocast."""
    return (a[:, :, :, None] * b[:, None]).sum(2)


def recoloured(x: Tensor, matrix: Tensor) -> Tensor:
    """Colours (channels, 1) times `matrix` `[N, C + 1, C + 1]`, exact where it is the identity."""
    linear, added = matrix[:, :-1, :-1, None, None], matrix[:, :-1, -1, None, None]
    return (linear * x[:, None]).sum(2) + added


def resampled(x: Tensor, inverse: Tensor) -> Tensor:
    """x `[N, C, H, W]` at the places that `inverse` `[N, 3, 3]` names for every pixel, by bilinear interpolation, the
    image mirrored at its edges for ever; exact where those are pixels."""
    height, width = x.shape[2:]
    a = inverse[:, :2, :, None, None].unbind(1)
    down = (torch.arange(height, dtype=inverse.dtype, device=x.device) - 0.5 * (height - 1))[:, None]
    right = torch.arange(width, dtype=inverse.dtype, device=x.device) - 0.5 * (width - 1)
    columns, rows = (row[:, 0] * right + row[:, 1] * down + row[:, 2] for row in a)
    return _bilinear(x, rows + 0.5 * (height - 1), columns + 0.5 * (width - 1))


def _bilinear(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """x at rows and columns `[N, H, W]`. By gathering, as torch's grid_sample has no second derivative."""
    (top, below), (left, beside) = _corners(rows, x.shape[2]), _corners(columns, x.shape[3])
    parts: Sequence[Tensor] = [
        (y.weight * across.weight)[:, None] * _gathered(x, y.index * x.shape[3] + across.index)
        for y in (top, below)
        for across in (left, beside)
    ]
    return reduce(torch.add, parts)


class _Corner(NamedTuple):
    index: Tensor
    weight: Tensor


def _corners(place: Tensor, size: int) -> tuple[_Corner, _Corner]:
    """The pixels before and after each place, mirrored at the edges −½ and size − ½, with their weights."""
    folded = size - ((place + 0.5).remainder(2.0 * size) - size).abs() - 0.5
    before = folded.floor()
    part = folded - before
    index = before.long()
    return _Corner(index.clamp(min=0), 1.0 - part), _Corner((index + 1).clamp(max=size - 1), part)


def _gathered(x: Tensor, index: Tensor) -> Tensor:
    """The pixels of x by number `[N, H, W]`, the same in all channels."""
    return x.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, x.shape[1], -1)).view_as(x)


def next_probability(
    p: Tensor, sign_mean: Tensor, images: int, target: float = 0.6, images_to_one: int = 500_000
) -> Tensor:
    """p after `images` more real images: a step of images/images_to_one up if r_t = E[sign(D(x))] of training images,
    `sign_mean`, is above the target, down if below; within [0, 1] (§3, eq. 1).

    A discriminator that tells nothing has r_t = 0, one that has overfitted 1. Steps up alone lead from 0 to 1 in
    `images_to_one` images."""
    step = torch.sign(sign_mean - target) * (images / images_to_one)
    return (p + step).clamp(0.0, 1.0)
