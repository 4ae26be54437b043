"""What a run looks like on its way: the same samples and the same reconstructions, time and again."""

import torch
from torch import Tensor

from simulacra import images
from simulacra.capabilities import Completes, HasFilters, Pairs, Reconstructs, Samples
from simulacra.data import Feed, Source
from simulacra.models.base import Model
from simulacra.runfolder import RunFolder

ROWS, COLUMNS = 4, 8  # of reconstructions
FILTERS = 10  # rows and columns of them


def write(model: Model, source: Source, folder: RunFolder, step: int, seed: int) -> None:
    """Write what `model` can show: samples and pairs of the same latents, the same images above their reconstructions
    and above what their first halves are completed to, and what its first units look for."""
    if not images.drawable(model.spec):
        return
    if isinstance(model, Samples):
        images.write(model.sample(64, seed=seed).cpu(), folder.preview(step, "samples"), model.spec)
    if isinstance(model, Pairs):
        images.write_grid(_pairs(model, seed), folder.preview(step, "pairs"), COLUMNS)
    if isinstance(model, Reconstructs) and model.spec.kind == "image":
        images.write_grid(_reconstructions(model, source), folder.preview(step, "reconstructions"), COLUMNS)
    if isinstance(model, Completes) and model.spec.kind == "image":
        images.write_grid(_completions(model, source, seed), folder.preview(step, "completions"), COLUMNS)
    if isinstance(model, HasFilters) and model.spec.kind == "image":
        images.write_grid(model.filters()[: FILTERS**2].cpu(), folder.preview(step, "filters"), FILTERS)


def _pairs(model: Pairs, seed: int) -> Tensor:
    """Rows of images of the first domain, each followed by the row of their partners."""
    return torch.cat([rows for part in model.pairs(32, seed=seed).cpu().split(COLUMNS) for rows in part.unbind(1)])


def _reconstructions(model: Reconstructs, source: Source) -> Tensor:
    """Rows of images drawn from all of the data, each followed by the row of their reconstructions."""
    x = _drawn(source)
    return _in_turn(x, model.reconstruct(x))


def _completions(model: Completes, source: Source, seed: int) -> Tensor:
    """The same, each followed by the row of images that begin with its first half."""
    x = _drawn(source)
    return _in_turn(x, model.complete(x, x[0].numel() // 2, seed=seed))


def _drawn(source: Source) -> Tensor:
    return Feed(source, seed=0, batch=min(ROWS * COLUMNS, len(source))).at(0).x


def _in_turn(x: Tensor, made: Tensor) -> Tensor:
    pairs = zip(x.split(COLUMNS), made.cpu().split(COLUMNS))
    return torch.cat([rows for pair in pairs for rows in pair])
