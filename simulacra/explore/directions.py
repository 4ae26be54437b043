"""Principal directions: along which a small move of a latent changes the picture most."""

from typing import NamedTuple

import torch
from torch import Tensor

from simulacra.capabilities import Decodes
from simulacra.errors import UserError

STEP = 1e-2  # of a difference, in units of the latents' root mean square


class Directions(NamedTuple):
    """Orthonormal `vectors` `[K, J]`, strongest first, and their `strengths` `[K]`: the mean squared speed of the data,
    E‖J v‖². `share` is that of these K in the whole, 0 … 1."""

    vectors: Tensor
    strengths: Tensor
    share: float


def principal_directions(model: Decodes, z: Tensor, count: int) -> Directions:
    """The first `count` eigenvectors of E[JᵀJ], J the Jacobian `[D, J]` of `decode`, the mean being over latents `z`
    `[P, J]`.

    At one latent these are the right singular vectors of J: the local basis of the picture's manifold, of which the
    first is the direction in which the data changes fastest. A direction and its opposite are one; the sign is that
    which makes the largest entry positive. On the CPU, float64.

    Jacobians are central differences at ± a hundredth of the latents' root mean square, which any `decode` allows:
    2 P J rows are decoded, and 2 J of them, J D numbers each way, are held at a time.

    Raises:
        UserError: more directions than the latents have, none, or a model that does not change along any.
    """
    width = z.shape[1]
    if not 1 <= count <= width:
        raise UserError(f"latents of {width} numbers have 1 to {width} directions, not {count}")
    step = STEP * z.square().mean().sqrt().item() or STEP
    product = sum((_outer(jacobian(model, point, step)) for point in z), torch.zeros(width, width).double()) / len(z)
    total = product.trace().item()
    if not 0 < total < float("inf"):
        raise UserError("the model's output does not change with its latents, or is not finite: it has no directions")
    strengths, vectors = torch.linalg.eigh(product)
    first = vectors.T.flip(0)[:count]
    return Directions(_signed(first), strengths.flip(0)[:count].clamp_min(0.0), strengths[-count:].sum().item() / total)


def jacobian(model: Decodes, point: Tensor, step: float) -> Tensor:
    """Jᵀ `[J, D]` of `decode` at a latent `[J]`, by central differences, in float64 on the CPU. Its error is of the
    order of step² and of the decoder's rounding over the step."""
    moves = step * torch.eye(len(point), dtype=point.dtype, device=point.device)
    ahead, behind = (model.decode(point + way * moves).detach().flatten(1).cpu().double() for way in (1, -1))
    return (ahead - behind) / (2.0 * step)


def _outer(transposed: Tensor) -> Tensor:
    """JᵀJ of Jᵀ."""
    return transposed @ transposed.T


def _signed(vectors: Tensor) -> Tensor:
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign()


def moved(z: Tensor, vectors: Tensor, lengths: Tensor) -> Tensor:
    """Latents `[T, K, J]`: `z` `[J]` moved along the k-th of unit `vectors` `[K, J]` by `lengths` `[T, K]`."""
    return z + lengths.to(z)[:, :, None] * vectors.to(z)
