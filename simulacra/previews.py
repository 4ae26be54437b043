"""What a run looks like on its way: the same samples and the same reconstructions, time and again."""

import torch
from torch import Tensor

from simulacra import images
from simulacra.capabilities import Chains, Pairs, Reconstructs, Samples
from simulacra.data import Feed, Source
from simulacra.models.base import Model
from simulacra.runfolder import RunFolder

ROWS, COLUMNS = 4, 8  # of reconstructions
CHAINS, STEPS = 8, 24  # a chain a row, a state a column


def write(model: Model, source: Source, folder: RunFolder, step: int, seed: int) -> None:
    """Write what `model` can show: samples and pairs of the same latents, its chains step by step, and the same images
    above their reconstructions."""
    if not images.drawable(model.spec):
        return
    if isinstance(model, Samples):
        images.write(model.sample(64, seed=seed).cpu(), folder.preview(step, "samples"), model.spec)
    if isinstance(model, Pairs):
        images.write_grid(_pairs(model, seed), folder.preview(step, "pairs"), COLUMNS)
    if isinstance(model, Chains) and model.spec.kind == "image":
        chains = model.chain(CHAINS, STEPS, seed=seed).cpu()
        images.write_grid(chains.flatten(0, 1), folder.preview(step, "chains"), STEPS)
    if isinstance(model, Reconstructs) and model.spec.kind == "image":
        images.write_grid(_reconstructions(model, source), folder.preview(step, "reconstructions"), COLUMNS)


def _pairs(model: Pairs, seed: int) -> Tensor:
    """Rows of images of the first domain, each followed by the row of their partners."""
    return torch.cat([rows for part in model.pairs(32, seed=seed).cpu().split(COLUMNS) for rows in part.unbind(1)])


def _reconstructions(model: Reconstructs, source: Source) -> Tensor:
    """Rows of images drawn from all of the data, each followed by the row of their reconstructions."""
    x = Feed(source, seed=0, batch=min(ROWS * COLUMNS, len(source))).at(0).x
    pairs = zip(x.split(COLUMNS), model.reconstruct(x).cpu().split(COLUMNS))
    return torch.cat([rows for pair in pairs for rows in pair])
