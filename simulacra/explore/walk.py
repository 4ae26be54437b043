"""Closed walks through the prior."""

import torch
from torch import Tensor

from simulacra.capabilities import HasPrior
from simulacra.errors import UserError
from simulacra.explore.paths import Interpolation


def walk(
    model: HasPrior, between: Interpolation, *, stops: int = 6, frames: int = 12, walks: int = 1, seed: int = 0
) -> Tensor:
    """Latents `[stops · frames, walks, J]` of smooth walks through the prior that end where they begin: after the last
    latent comes the first.

    Walk w stops at samples w · stops … of the stream `seed`, stop k being latent k · frames. It leaves and reaches
    every stop at rest, by the cubic 3t² − 2t³, so that its speed has no jump. With `paths.spherical` its points have
    the lengths of the prior's draws; in many dimensions two draws are about orthogonal, and cos(θ) a + sin(θ) b of
    normal a and b is normal again: the walk stays in the typical set.

    Raises:
        UserError: fewer than two stops, no frame or no walk.
    """
    if stops < 2 or frames < 1 or walks < 1:
        raise UserError(f"a walk needs 2 stops, a frame between them and one walk, not {stops}, {frames} and {walks}")
    places = model.prior(walks * stops, seed=seed).unflatten(0, (walks, stops)).transpose(0, 1)
    t = torch.arange(frames, device=places.device) / frames
    eased = t.square() * (3.0 - 2.0 * t)
    return torch.cat([between(places[k], places[(k + 1) % stops], eased) for k in range(stops)])
