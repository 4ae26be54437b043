"""Log-likelihoods of test rows as the model itself tells them: exact, bounded, or bounded with many draws."""

from collections.abc import Callable
from dataclasses import replace
from math import hypot, log
from typing import ClassVar, get_args

import torch
from pydantic import Field
from torch import Tensor

from simulacra import config as settings
from simulacra.capabilities import HasLogProb, HasLogWeights, HasPartition, KindOfLogProb
from simulacra.errors import UserError
from simulacra.metrics.ais import LogZ
from simulacra.metrics.measure import Kept, Score, mean_score
from simulacra.metrics.of_model import ModelMeasure, Setting

KINDS: tuple[KindOfLogProb, ...] = get_args(KindOfLogProb)
ROWS_AT_A_TIME = 20
WEIGHTS_AT_A_TIME = 100  # of each of these rows


class LogProbConfig(settings.Config):
    """What the log-likelihood is measured on."""

    rows: int | None = Field(default=None, ge=2, description="test rows, the first ones (default: all)")


class LogLikelihood(ModelMeasure):
    """Mean log-likelihood of test rows in nats per row, by the model's `log_prob`: its own value, a bound (the ELBO) or
    an estimate, which `kind` tells.

    `bits_per_dimension` is −value / (D log 2), of rows as the model sees them: of bits where it draws them, otherwise
    of a density on the model's own scale: [0, 256) of images for *realnvp*, [−1, 1] for Gaussian likelihoods, which
    makes 7 bits less of it. Where log Z is estimated its error is joined to that of the rows.
    """

    name, better, capability = "log_prob", {"log_prob": "higher"}, HasLogProb
    sides: ClassVar = {"real": "test"}
    Config = LogProbConfig
    config: LogProbConfig

    def compute(self, model: HasLogProb, setting: Setting) -> dict[str, Score]:
        """The score. Raises UserError for fewer than two rows, or a value that is not finite."""

        def record(first: int, rows: Tensor) -> Tensor:
            value, kind = model.log_prob(rows, seed=setting.seed, start=first)
            return _columns(value.double().cpu(), KINDS.index(kind), rows[0].numel())

        records = of_all_rows(self.name, setting, self.config.rows, record)
        _, kind, width = records[0].tolist()
        score = _score(records, kind=KINDS[int(kind)], bits_per_dimension=_bits(records, width))
        return {"log_prob": _with_log_z(score, model, setting)}


class IWAEConfig(settings.Config):
    """How the importance weighted bound is measured."""

    samples: int = Field(default=500, ge=1, description="K, importance samples per row")
    images: int | None = Field(default=1000, ge=2, description="test rows, the first ones (none: all)")


class IWAE(ModelMeasure):
    """Mean over test rows of the importance weighted bound on log p(x), in nats per row (Burda, Grosse & Salakhutdinov
    2016, eq. 8): log of the mean of K importance weights.

    It rises with K towards log p(x); for K = 1 it is the ELBO, estimated without its closed form. Asks the model for
    100 weights of 20 rows at a time, whatever K is. `effective_samples` is the mean over rows of (Σw)²/Σw²: where it is
    a few, the bound is still loose.
    """

    name, better, capability = "iwae", {"iwae": "higher"}, HasLogWeights
    sides: ClassVar = {"real": "test"}
    Config = IWAEConfig
    config: IWAEConfig

    def compute(self, model: HasLogWeights, setting: Setting) -> dict[str, Score]:
        """The score. Raises UserError for fewer than two rows, or a value that is not finite."""
        samples = self.config.samples

        def record(first: int, rows: Tensor) -> Tensor:
            return _columns(*weighted_bounds(model, rows, samples, seed=setting.seed, start=first), rows[0].numel())

        records = of_all_rows(self.name, setting, self.config.images, record)
        log_z = model.partition(seed=setting.seed) if isinstance(model, HasPartition) else None
        kind = "bound" if log_z is None else log_z.kind(tight=False)
        facts = {"kind": kind, "samples": samples, "effective_samples": records[:, 1].mean().item()}
        score = _score(records, **facts, bits_per_dimension=_bits(records, records[0, 2].item()))
        return {"iwae": _with_log_z(score, model, setting)}


def weighted_bounds(
    model: HasLogWeights, x: Tensor, samples: int, *, seed: int = 0, start: int = 0
) -> tuple[Tensor, Tensor]:
    """`weighted_bound` of any number of rows, 20 at a time."""
    parts = zip(range(start, start + len(x), ROWS_AT_A_TIME), x.split(ROWS_AT_A_TIME))
    found = [weighted_bound(model, rows, samples, seed=seed, start=first) for first, rows in parts]
    bounds, effective = zip(*found)
    return torch.cat(bounds), torch.cat(effective)


def weighted_bound(
    model: HasLogWeights, x: Tensor, samples: int, *, seed: int = 0, start: int = 0, at_a_time: int = WEIGHTS_AT_A_TIME
) -> tuple[Tensor, Tensor]:
    """log (1/K Σ_k w_k) of each row of `x` `[N, ...]`, K = `samples` (eq. 8), and (Σw)²/Σw²: both float64 `[N]`.

    Holds `[N, at_a_time]` weights; how many are asked for at a time does not change the values.
    """
    total = torch.full((len(x),), -torch.inf, dtype=torch.float64)
    squares = total.clone()
    for first in range(0, samples, at_a_time):
        number = min(at_a_time, samples - first)
        weights = model.log_weights(x, number, seed=seed, start=start, first=first).double().cpu()
        total = torch.logaddexp(total, weights.logsumexp(1))
        squares = torch.logaddexp(squares, (2.0 * weights).logsumexp(1))
    return total - log(samples), (2.0 * total - squares).exp()


def _with_log_z(score: Score, model: object, setting: Setting) -> Score:
    """The score of a model whose log Z was estimated for it, with the error of that one joined to its own."""
    return joined(score, model.partition(seed=setting.seed)) if isinstance(model, HasPartition) else score


def joined(score: Score, log_z: LogZ) -> Score:
    """The score with the error of log Z joined to its own, and what is known of log Z."""
    error = hypot(score.standard_error or 0.0, log_z.standard_error)
    return replace(score, standard_error=error, facts={**score.facts, **log_z.facts()})


def _columns(*parts: Tensor | float) -> Tensor:
    """Columns `[N]`, or one number for all rows, side by side in float64."""
    full = torch.broadcast_tensors(*(torch.as_tensor(part, dtype=torch.float64) for part in parts))
    return torch.stack(full, dim=1)


def of_all_rows(name: str, setting: Setting, limit: int | None, record: Callable[[int, Tensor], Tensor]) -> Tensor:
    """What `record` says of every test row, by its number, of all ranks: `[N, columns]`."""
    kept = Kept()
    for first, rows in setting.test(limit):
        kept.add(torch.arange(first, first + len(rows)), record(first, rows))
    records = kept.rows(setting.table)
    if len(records) < 2:
        raise UserError(f"{name} needs at least 2 test rows: there are {len(records)}")
    for row in (~torch.isfinite(records[:, 0])).nonzero()[:1].flatten().tolist():
        raise UserError(f"{name}: the log-likelihood of test row {row} is not finite ({records[row, 0].item()})")
    return records


def _bits(records: Tensor, width: float) -> float:
    return -records[:, 0].mean().item() / (width * log(2))


def _score(records: Tensor, **facts: object) -> Score:
    return mean_score(records[:, 0], **facts, rows={"real": len(records)})
