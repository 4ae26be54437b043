"""The picture of a plane of latents: what a model of two latents has learned, whole."""

import torch
from torch import Tensor

from simulacra.capabilities import HasPrior
from simulacra.errors import UserError
from simulacra.explore import prior


def manifold(model: HasPrior, side: int, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """Latents `[side, side, J]` over the plane of two `axes`, column by column along the first, and in each column down
    along the second, from its largest value on: at probabilities ½/side, 3⁄2/side, … of the prior along each, so that
    equal areas of the picture are equally likely (Kingma & Welling 2014, Fig. 4). Other latents are at the prior's
    median.

    Quantiles are those of many draws, so any prior will do; latents whose numbers depend on each other, such as one-hot
    classes, get values that the prior does not draw.

    Raises:
        UserError: axes that the latents do not have, or twice the same, or fewer than two columns.
    """
    drawn = prior.draws(model)
    width = drawn.shape[1]
    if side < 2:
        raise UserError(f"a plane needs 2 columns or more, not {side}")
    if axes[0] == axes[1] or not all(0 <= axis < width for axis in axes):
        raise UserError(f"axes are two different ones of 0 to {width - 1}, not {axes[0]},{axes[1]}")
    shares = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    across, up = (drawn[:, axis].double().quantile(shares).to(drawn.dtype) for axis in axes)
    plane = drawn.median(0).values.expand(side, side, -1).clone()
    plane[..., axes[0]] = across[:, None]
    plane[..., axes[1]] = up.flip(0)
    return plane
