"""What a model looks like: pictures of all that it can do, on its way and afterwards."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor

from simulacra import images
from simulacra.capabilities import (
    Chains,
    Completes,
    Corrupts,
    Fills,
    HasCentres,
    HasFilters,
    HasGibbs,
    HasPrior,
    Pairs,
    Reconstructs,
    Samples,
)
from simulacra.data import Feed, Source
from simulacra.explore.manifold import manifold
from simulacra.models.base import Model

SAMPLES = "samples"
ROWS, COLUMNS = 4, 8  # of reconstructions
CHAINS, STEPS = 8, 24  # a chain a row, a state a column
SWEEPS = (1, 10, 100)  # of Gibbs sampling from data, a row of pictures each
FILTERS = 10  # rows and columns of them
CENTRES = 10  # columns of them
PLANE = 16  # rows and columns of a plane of latents


def names(model: Model) -> list[str]:
    """The figures that `model` has: samples, and of models of images whatever else they can show."""
    if not images.drawable(model.spec):
        return []
    others = [figure.name for figure in FIGURES if model.spec.kind == "image" and figure.shows(model)]
    return [SAMPLES] * isinstance(model, Samples) + others


def write(
    model: Model, source: Source, place: Callable[[str], Path], seed: int, only: Collection[str] | None = None
) -> None:
    """Write the figures of `model`, all or those named in `only`, as the PNG files that `place(name)` says; rows of
    data are drawn from `source`. Raises as `images.write` does."""
    for name in names(model):
        if only is not None and name not in only:
            continue
        if name == SAMPLES:
            images.write(model.sample(64, seed=seed).cpu(), place(name), model.spec)
        else:
            figure = next(figure for figure in FIGURES if figure.name == name)
            images.write_grid(figure.draw(model, source, seed).cpu(), place(name), figure.columns)


def _pairs(model: Pairs, source: Source, seed: int) -> Tensor:
    """Rows of images of the first domain, each followed by the row of their partners of the same latents."""
    return torch.cat([rows for part in model.pairs(32, seed=seed).split(COLUMNS) for rows in part.unbind(1)])


def _chains(model: Chains, source: Source, seed: int) -> Tensor:
    """Every chain from its start on."""
    return model.chain(CHAINS, STEPS, seed=seed).flatten(0, 1)


def _gibbs(model: HasGibbs, source: Source, seed: int) -> Tensor:
    """A row of images drawn from all of the data, and below each where its chain is after 1, 10 and 100 sweeps."""
    x = _drawn(source)[:COLUMNS]
    return torch.cat([x.cpu(), *(model.gibbs(x, steps, seed=seed).cpu() for steps in SWEEPS)])


def _reconstructions(model: Reconstructs, source: Source, seed: int) -> Tensor:
    """Rows of images drawn from all of the data, each followed by the row of their reconstructions."""
    x = _drawn(source)
    return _in_turn(x, model.reconstruct(x))


def _denoised(model: Corrupts, source: Source, seed: int) -> Tensor:
    """The same, each followed by the rows of what noise makes of them, and of what the model makes of that."""
    x = _drawn(source)
    noisy = model.corrupt(x, seed=seed)
    return _in_turn(x, noisy, model.reconstruct(noisy))


def _completions(model: Completes, source: Source, seed: int) -> Tensor:
    """The same, each followed by the row of images that begin with its first half."""
    x = _drawn(source)
    return _in_turn(x, model.complete(x, x[0].numel() // 2, seed=seed))


def _fillings(model: Fills, source: Source, seed: int) -> Tensor:
    """The same, each followed by the row of what the model sees of them, and by three rows of what it fills in."""
    x = _drawn(source)
    return _in_turn(x, model.seen(x), *(model.fill(x, seed=seed + k) for k in range(3)))


def _filters(model: HasFilters, source: Source, seed: int) -> Tensor:
    """What the first units look for."""
    return model.filters()[: FILTERS**2]


def _centres(model: HasCentres, source: Source, seed: int) -> Tensor:
    """The means of the first components, or of the classes."""
    return model.centres()[: CENTRES**2]


def _plane(model: HasPrior, source: Source, seed: int) -> Tensor:
    """All that two latents can say."""
    return model.decode(manifold(model, PLANE).transpose(0, 1).flatten(0, 1)).detach()


class Figure(NamedTuple):
    """Images that `draw(model, source, seed)` makes of a model that can do what the protocol `of` says, and has so many
    `latents` where that matters."""

    name: str
    of: type
    draw: Callable[..., Tensor]
    columns: int
    latents: int | None = None

    def shows(self, model: Model) -> bool:
        """Whether it is a figure of `model`."""
        can = isinstance(model, self.of)
        return can and (self.latents is None or cast(HasPrior, model).prior(1).shape[1] == self.latents)


FIGURES = (
    Figure("pairs", Pairs, _pairs, COLUMNS),
    Figure("chains", Chains, _chains, STEPS),
    Figure("gibbs", HasGibbs, _gibbs, COLUMNS),
    Figure("reconstructions", Reconstructs, _reconstructions, COLUMNS),
    Figure("denoised", Corrupts, _denoised, COLUMNS),
    Figure("completions", Completes, _completions, COLUMNS),
    Figure("fillings", Fills, _fillings, COLUMNS),
    Figure("filters", HasFilters, _filters, FILTERS),
    Figure("centres", HasCentres, _centres, CENTRES),
    Figure("manifold", HasPrior, _plane, PLANE, latents=2),
)


def _drawn(source: Source) -> Tensor:
    return Feed(source, seed=0, batch=min(ROWS * COLUMNS, len(source))).at(0).x


def _in_turn(*columns: Tensor) -> Tensor:
    """Eight rows of the first, the same eight of each of the others, then the next eight."""
    parts = zip(*(each.cpu().split(COLUMNS) for each in columns))
    return torch.cat([rows for part in parts for rows in part])
