"""Parzen-window log-likelihood of pixels (Breuleux, Bengio & Vincent 2011), as Goodfellow et al. (2014) measure it."""

from collections.abc import Mapping
from dataclasses import replace
from math import log, pi
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from simulacra import config as settings
from simulacra.metrics.measure import Kept, Measure, Score, Seen, Side, mean_score
from simulacra.play import Table

ROWS_AT_A_TIME = 500  # times 10 000 samples: 40 MB of distances
SAMPLES_AT_A_TIME = 2000
UNRELIABLE = (
    "Parzen windows are unreliable in many dimensions, poor samples can score higher than the data themselves "
    "(Theis, van den Oord & Bethge 2016): read it beside another measure"
)


class ParzenConfig(settings.Config):
    """The protocol; the defaults are the original one."""

    samples: int = Field(default=10_000, ge=1, description="samples that a window is put on, the first ones")
    rows: int = Field(default=10_000, ge=2, description="test rows that are scored, the first ones")
    validation: int = Field(default=1000, ge=1, description="held-out rows that sigma is chosen on, the first ones")
    lowest: float = Field(default=0.1, gt=0, description="least sigma tried; pixels are in [0, 1]")
    highest: float = Field(default=1.0, gt=0, description="greatest sigma tried")
    sigmas: int = Field(default=10, ge=1, description="how many sigmas are tried, at equal ratios")


class Parzen(Measure):
    """Mean log-likelihood of test rows in nats under a mixture of Gaussians N(s, σ²I), one on every sample s, with the
    σ that suits held-out rows best. Its standard error is that of the mean over test rows.

    Keeps the rows that the protocol names as float32, on every rank (70 MB for the defaults on 28 × 28); the ranks
    share the rows that are scored.
    """

    name, better, features = "parzen", {"parzen": "higher"}, "pixels"
    sides: ClassVar[Mapping[Side, str]] = {"real": "test", "held_out": "validation", "fake": "samples"}
    Config = ParzenConfig
    config: ParzenConfig

    def _reset(self) -> None:
        limits = {"real": self.config.rows, "held_out": self.config.validation, "fake": self.config.samples}
        self._kept = {side: Kept(limit) for side, limit in limits.items()}

    def _update(self, side: Side, seen: Seen) -> None:
        self._kept[side].add(seen.index, seen.features)

    def _compute(self, table: Table) -> dict[str, Score]:
        rows, held_out, samples = (self._kept[side].rows(table) for side in ("real", "held_out", "fake"))
        sigmas = geometric(self.config.lowest, self.config.highest, self.config.sigmas)
        chosen_on = _shared(held_out, samples, sigmas, table).mean(1)
        best = int(chosen_on.argmax())
        score = mean_score(
            _shared(rows, samples, sigmas[best : best + 1], table)[0],
            sigma=sigmas[best].item(),
            sigmas=sigmas.tolist(),
            validation_log_likelihoods=chosen_on.tolist(),
            rows={"real": len(rows), "held_out": len(held_out), "fake": len(samples)},
        )
        return {"parzen": replace(score, notes=(UNRELIABLE, *_at_an_end(best, sigmas)))}


def geometric(lowest: float, highest: float, number: int) -> Tensor:
    """`number` values from `lowest` to `highest` at equal ratios, float64."""
    return torch.linspace(log(lowest), log(highest), number, dtype=torch.float64).exp()


def log_likelihoods(rows: Tensor, samples: Tensor, sigmas: Tensor) -> Tensor:
    """log of the mean of N(x; s, σ²I) over `samples` s `[M, D]`, for every σ of `sigmas` `[K]` and row x of `rows`
    `[N, D]`: float64 `[K, N]`, in nats.

    The distances are found once for all σ, in float64, 500 rows at a time.
    """
    found = [_windows(_squared_distances(part, samples), sigmas) for part in rows.split(ROWS_AT_A_TIME)]
    constants = log(len(samples)) + rows.shape[1] * (0.5 * log(2 * pi) + sigmas.log())
    return torch.cat(found, dim=1).cpu() - constants[:, None]


def _windows(distances: Tensor, sigmas: Tensor) -> Tensor:
    return torch.stack([(distances / (-2.0 * sigma**2)).logsumexp(1) for sigma in sigmas.tolist()])


def _squared_distances(rows: Tensor, samples: Tensor) -> Tensor:
    """|x − s|² `[N, M]` in float64."""
    x = rows.double()
    return torch.cat([_between(x, part.double()) for part in samples.split(SAMPLES_AT_A_TIME)], dim=1)


def _between(x: Tensor, y: Tensor) -> Tensor:
    return (x.square().sum(1)[:, None] + y.square().sum(1) - 2.0 * x @ y.T).clamp_min(0.0)


def _shared(rows: Tensor, samples: Tensor, sigmas: Tensor, table: Table) -> Tensor:
    """`log_likelihoods` of all rows, each rank having found those of its share."""
    first, last = (len(rows) * rank // table.size for rank in (table.rank, table.rank + 1))
    own = log_likelihoods(rows[first:last], samples, sigmas) if first < last else sigmas.new_empty(len(sigmas), 0)
    return table.gather(own.T.contiguous()).T


def _at_an_end(best: int, sigmas: Tensor) -> tuple[str, ...]:
    if len(sigmas) > 1 and best in (0, len(sigmas) - 1):
        return (
            f"the best sigma, {sigmas[best]:.3g}, is at an end of those tried: widen parzen.lowest, parzen.highest",
        )
    return ()
