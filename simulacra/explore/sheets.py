"""How results are laid out: frames `[T, R, ...]`, of which a sheet shows the T as columns and the R as rows."""

import torch
from torch import Tensor

from simulacra.capabilities import HasPrior
from simulacra.data.spec import Spec
from simulacra.explore import prior
from simulacra.explore.arithmetic import around, combined

EXAMPLES = 3  # pictures above a mean, at most
COLUMNS = 8  # of a sheet of inversions


def arithmetic_sheet(model: HasPrior, parts: list[Tensor], spec: Spec, seed: int) -> Tensor:
    """Pictures `[4, E + 1, ...]` of A, B, C and A − B + C, the latents being `parts` (Radford et al. 2016, Fig. 7).

    The last of each column is of the mean; above it are up to three of the latents that it is the mean of, white where
    there are fewer, and above the result neighbours of it. Without several latents in any part only the last is there.
    Points `[1, 4, 2]`: of the means alone.
    """
    a, b, c = parts
    result = combined(a, b, c)
    if spec.kind != "image":
        return model.decode(torch.stack([*(part.mean(0) for part in parts), result])).detach().cpu()[None]
    most = min(EXAMPLES, max(map(len, parts)))
    examples = 0 if most == 1 else most
    near = around(result, examples, prior.draws(model).std(0), seed=seed)
    columns = [(part[:examples] if len(part) > 1 else part[:0], part.mean(0)) for part in parts]
    return torch.stack([_column(model, shown, last, examples) for shown, last in [*columns, (near, result)]])


def _column(model: HasPrior, examples: Tensor, last: Tensor, height: int) -> Tensor:
    """Decoded latents, one below the other: `height` places for examples, the lowest taken first, then the last."""
    pictures = model.decode(torch.cat([examples, last[None]])).detach().cpu()
    blank = torch.ones(height - len(examples), *pictures.shape[1:])
    return torch.cat([blank, pictures])


def pairs_sheet(x: Tensor, found: Tensor, spec: Spec) -> Tensor:
    """Data `[N, ...]` and what was found for it: images `[columns, rows, ...]`, rows of originals each above the row of
    their inversions, white where there are none; points `[N, 2, 2]`."""
    both = torch.stack([x.cpu(), found.cpu()])
    if spec.kind != "image":
        return both.transpose(0, 1)
    columns = min(COLUMNS, len(x))
    blank = torch.ones(2, -len(x) % columns, *x.shape[1:])
    return torch.cat([both, blank], dim=1).unflatten(1, (-1, columns)).movedim(2, 0).transpose(1, 2).flatten(1, 2)
