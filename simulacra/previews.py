"""What a run looks like on its way: pictures of all that its model can do."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from simulacra import images
from simulacra.capabilities import Chains, Completes, Fills, HasFilters, HasGibbs, Pairs, Reconstructs, Samples
from simulacra.data import Feed, Source
from simulacra.models.base import Model
from simulacra.runfolder import RunFolder

ROWS, COLUMNS = 4, 8  # of reconstructions
CHAINS, STEPS = 8, 24  # a chain a row, a state a column
SWEEPS = (1, 10, 100)  # of Gibbs sampling from data, a row of pictures each
FILTERS = 10  # rows and columns of them


def write(model: Model, source: Source, folder: RunFolder, step: int, seed: int) -> None:
    """Write samples of `model`, and of models of images a picture of each other thing that they can show."""
    if not images.drawable(model.spec):
        return
    if isinstance(model, Samples):
        images.write(model.sample(64, seed=seed).cpu(), folder.preview(step, "samples"), model.spec)
    for picture in PICTURES if model.spec.kind == "image" else ():
        if isinstance(model, picture.of):
            images.write_grid(
                picture.draw(model, source, seed).cpu(), folder.preview(step, picture.name), picture.columns
            )


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


def _completions(model: Completes, source: Source, seed: int) -> Tensor:
    """The same, each followed by the row of images that begin with its first half."""
    x = _drawn(source)
    return _in_turn(x, model.complete(x, x[0].numel() // 2, seed=seed))


def _fillings(model: Fills, source: Source, seed: int) -> Tensor:
    """The same, each followed by the row of what the model sees of them, and by three rows of what it fills in."""
    x = _drawn(source)
    made = [model.seen(x), *(model.fill(x, seed=seed + k) for k in range(3))]
    parts = zip(*(each.cpu().split(COLUMNS) for each in (x, *made)))
    return torch.cat([rows for part in parts for rows in part])


def _filters(model: HasFilters, source: Source, seed: int) -> Tensor:
    """What the first units look for."""
    return model.filters()[: FILTERS**2]


class Picture(NamedTuple):
    """Images that `draw(model, source, seed)` makes of a model that can do what the protocol `of` says."""

    name: str
    of: type
    draw: Callable[..., Tensor]
    columns: int


PICTURES = (
    Picture("pairs", Pairs, _pairs, COLUMNS),
    Picture("chains", Chains, _chains, STEPS),
    Picture("gibbs", HasGibbs, _gibbs, COLUMNS),
    Picture("reconstructions", Reconstructs, _reconstructions, COLUMNS),
    Picture("completions", Completes, _completions, COLUMNS),
    Picture("fillings", Fills, _fillings, COLUMNS),
    Picture("filters", HasFilters, _filters, FILTERS),
)


def _drawn(source: Source) -> Tensor:
    return Feed(source, seed=0, batch=min(ROWS * COLUMNS, len(source))).at(0).x


def _in_turn(x: Tensor, made: Tensor) -> Tensor:
    pairs = zip(x.split(COLUMNS), made.cpu().split(COLUMNS))
    return torch.cat([rows for pair in pairs for rows in pair])
