"""Inversion: the latents whose pictures come nearest to given ones (Zhu et al. 2016, "Generative visual manipulation",
§4.1; Creswell & Bharath 2018, "Inverting the generator of a GAN")."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from simulacra.capabilities import Decodes, Encodes, HasPrior
from simulacra.config import Config
from simulacra.errors import UserError
from simulacra.explore.prior import draws, is_spherical
from simulacra.precision import widen

POOL = 1000  # draws of the prior among which starts are looked for
ROWS = 250  # latents that move at a time


class InversionConfig(Config):
    """How images are inverted."""

    steps: int = Field(default=200, ge=0, description="steps of Adam from each start")
    starts: int = Field(default=4, ge=1, le=POOL, description="starts per image, of which the best end counts")
    rate: float = Field(default=0.05, gt=0, description="learning rate at first, in the latents' standard deviations")
    pull: float = Field(default=0.0, ge=0, description="weight of the squared latent: pulls towards the prior's mean")


class Inversion(NamedTuple):
    """Latents `[N, J]`, what they decode to `[N, ...]`, and its mean squared error `[N]` per number of the data's own
    scale ([−1, 1] for images); all on the model's device."""

    latents: Tensor
    images: Tensor
    errors: Tensor


class _Law(NamedTuple):
    """Mean and standard deviation `[J]` of latents, and the box they stay in, if they do."""

    mean: Tensor
    deviation: Tensor
    box: tuple[Tensor, Tensor] | None


def invert(
    model: Decodes,
    x: Tensor,
    config: InversionConfig | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Inversion:
    """Find latents for data `x` `[N, ...]` by descending the mean of (decode(z) − x)² with Adam, plus `pull` times the
    mean of the squared standardised latent (−log p(z) of a normal prior, up to a factor).

    Starts are the code, where the model encodes, and those of 1000 draws of the prior (of the stream `seed`, the same
    for all images) whose pictures are nearest. The learning rate falls to zero along a cosine. Of all starts and steps
    the latent with the lowest objective is kept, so it is never worse than the best start. Latents of a prior without
    spherical symmetry stay within the range of the draws (such a prior may be bounded; Lipton & Tripathi 2017 clip for
    that reason). 250 latents move at a time: beside `x`, its inversions and latents, memory does not grow with N.

    `progress(done, of)` hears of latents. Weights get no gradient.

    Raises:
        UserError: the model has neither prior nor encoder, its `decode` lets no gradient pass, or `x` does not fit.
    """
    config = config or InversionConfig.read({}, "inversion")
    pool = _pool(model, seed)
    starts = _starts(model, x, pool, config.starts)
    law = _law(model, pool, starts)
    per = starts.shape[1]
    rows, targets = starts.flatten(0, 1), torch.arange(len(x)).repeat_interleave(per)
    ends, objectives = [], []
    for part in torch.arange(len(rows)).split(ROWS):
        z, objective = _descend(model, rows[part], x[targets[part]].to(rows.device), law, config)
        ends.append(z)
        objectives.append(objective)
        progress(int(part[-1]) + 1, len(rows))
    return _best(model, x, torch.cat(ends).unflatten(0, (-1, per)), torch.cat(objectives).unflatten(0, (-1, per)))


def _pool(model: Decodes, seed: int) -> Tensor | None:
    return model.prior(POOL, seed=seed).detach() if isinstance(model, HasPrior) else None


def _starts(model: Decodes, x: Tensor, pool: Tensor | None, count: int) -> Tensor:
    """Starts `[N, S, J]`: the code first, then draws from the nearest picture on."""
    found = []
    if isinstance(model, Encodes):
        code = widen(model.encode(x).detach())
        if pool is None or code.shape[1:] == pool.shape[1:]:
            found.append(code[:, None])
    if pool is not None and count > len(found):
        pictures = widen(model.decode(pool)).detach().flatten(1)
        if pictures.shape[1] != x[0].numel():
            raise UserError(f"the model makes rows of {pictures.shape[1]} numbers, not of {x[0].numel()}")
        few = [_nearest(part.flatten(1).to(pictures), pictures, count - len(found)) for part in x.split(ROWS)]
        found.append(pool.to(pictures.device)[torch.cat(few)])
    if not found:
        raise UserError("inversion needs a model with a prior to start from, or with an encoder")
    return torch.cat([part.to(found[0].device) for part in found], dim=1)


def _nearest(rows: Tensor, pictures: Tensor, count: int) -> Tensor:
    """The numbers `[N, count]` of the pictures nearest to each row."""
    return torch.cdist(rows, pictures).topk(count, largest=False).indices


def _law(model: Decodes, pool: Tensor | None, starts: Tensor) -> _Law:
    if pool is None:
        width = starts.shape[2]
        return _Law(torch.zeros(width).to(starts), torch.ones(width).to(starts), None)
    z = pool.to(starts)
    bounded = isinstance(model, HasPrior) and not is_spherical(draws(model))
    return _Law(z.mean(0), z.std(0).clamp_min(1e-6), (z.amin(0), z.amax(0)) if bounded else None)


def _descend(model: Decodes, starts: Tensor, x: Tensor, law: _Law, config: InversionConfig) -> tuple[Tensor, Tensor]:
    """From each of `starts` `[M, J]` towards its row of `x`: the best latents met, and their objectives `[M]`."""
    z = starts.detach().clone().requires_grad_()
    best, lowest = z.detach().clone(), torch.full((len(z),), math.inf, device=z.device)
    optimiser = torch.optim.Adam([z], lr=config.rate * law.deviation.mean().item())
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(config.steps, 1))
    for step in range(config.steps + 1):
        objective, gradient = _slope(model, z, x, law, config.pull, last=step == config.steps)
        better = objective < lowest
        best[better], lowest[better] = z.detach()[better], objective[better]
        if gradient is None:
            break
        z.grad = gradient
        optimiser.step()
        falling.step()
        if law.box:
            z.data.clamp_(*law.box)
    return best, lowest


def _slope(model: Decodes, z: Tensor, x: Tensor, law: _Law, pull: float, *, last: bool) -> tuple[Tensor, Tensor | None]:
    """The objective of each row `[M]`, and its gradient `[M, J]` where a step follows."""
    with torch.enable_grad():
        output = model.decode(z)
        if not output.requires_grad:
            raise UserError("the model's decode lets no gradient pass to its latents: it cannot be inverted")
        objective = _errors(output, x) + pull * ((z - law.mean) / law.deviation).square().mean(1)
        gradient = None if last else torch.autograd.grad(objective.sum(), z)[0]
    return objective.detach(), gradient


def _errors(output: Tensor, x: Tensor) -> Tensor:
    return (widen(output) - x.to(output.device)).flatten(1).square().mean(1)


def _best(model: Decodes, x: Tensor, ends: Tensor, objectives: Tensor) -> Inversion:
    """Of the ends `[N, S, J]` that with the lowest objective `[N, S]`."""
    latents = ends[torch.arange(len(ends), device=ends.device), objectives.argmin(1)]
    images = model.decode(latents).detach()
    return Inversion(latents, images, _errors(images, x))
