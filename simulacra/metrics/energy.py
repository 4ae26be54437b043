"""Log-likelihoods of test rows under a model of an energy, its partition function estimated with an error."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from simulacra import config as settings
from simulacra.capabilities import HasChib, HasPartition
from simulacra.metrics.ais import paper_betas
from simulacra.metrics.likelihood import joined, of_all_rows
from simulacra.metrics.measure import Score, mean_score
from simulacra.metrics.of_model import ModelMeasure, Setting


class AISConfig(settings.Config):
    """How the partition function is estimated."""

    chains: int = Field(default=100, ge=2, description="runs of annealed importance sampling")
    temperatures: int | None = Field(
        default=None,
        ge=1,
        description="evenly spaced steps from 0 to 1 (default: the 14 500 of Salakhutdinov & Murray 2008)",
    )
    rows: int | None = Field(default=None, ge=2, description="test rows, the first ones (default: all)")


class AIS(ModelMeasure):
    """Mean of log p(x) of test rows in nats per row, log Z by annealed importance sampling (Salakhutdinov & Murray
    2008); of models that bound log p(x) + log Z, the bound's.

    The standard error is of both sums together, which are independent. `log_z_low` and `log_z_high` are three standard
    errors of the estimate Ẑ from it, and where `effective_chains` is a few they are not to be trusted. As log Ẑ is too
    low on average, the score is too high rather than too low.
    """

    name, better, capability = "ais", {"ais": "higher"}, HasPartition
    sides: ClassVar = {"real": "test"}
    Config = AISConfig
    config: AISConfig

    def compute(self, model: HasPartition, setting: Setting) -> dict[str, Score]:
        """The score. Raises UserError for fewer than two rows, or a value that is not finite."""

        def unnormalised(first: int, rows: Tensor) -> Tensor:
            return model.unnormalised(rows, seed=setting.seed, start=first)

        return {"ais": _normalised("ais", self.config, setting, model, unnormalised, model.tight)}


class ChibConfig(AISConfig):
    """How the partition function and what it divides are estimated."""

    rows: int | None = Field(default=100, ge=2, description="test rows, the first ones (none: all)")
    sweeps: int = Field(default=50, ge=1, description="sweeps through the hidden units of each row")


class Chib(ModelMeasure):
    """Mean of log p(x) of test rows in nats per row under a deep belief net: what its hidden units make of a row
    estimated in the way of Chib (Murray & Salakhutdinov 2009), log Z by annealed importance sampling as of `ais`.

    For a given log Z the estimate of p(x) is unbiased, so that its log is too low on average; more sweeps raise it.
    """

    name, better, capability = "chib", {"chib": "higher"}, HasChib
    sides: ClassVar = {"real": "test"}
    Config = ChibConfig
    config: ChibConfig

    def compute(self, model: HasChib, setting: Setting) -> dict[str, Score]:
        """The score. Raises UserError for fewer than two rows, or a value that is not finite."""

        def unnormalised(first: int, rows: Tensor) -> Tensor:
            return model.chib(rows, self.config.sweeps, seed=setting.seed, start=first)

        score = _normalised("chib", self.config, setting, model, unnormalised, tight=True)
        return {"chib": replace(score, facts={**score.facts, "kind": "estimate", "sweeps": self.config.sweeps})}


def _normalised(
    name: str,
    config: AISConfig,
    setting: Setting,
    model: HasPartition,
    unnormalised: Callable[[int, Tensor], Tensor],
    tight: bool,
) -> Score:
    """The mean of `unnormalised(number of the first row, rows)` less log Z, with what there is to know of both; `tight`
    says whether the former is log p(x) + log Z or a lower bound on it."""
    number = config.temperatures
    betas = paper_betas() if number is None else [k / number for k in range(number + 1)]
    log_z = model.partition(chains=config.chains, betas=betas, seed=setting.seed)

    def record(first: int, rows: Tensor) -> Tensor:
        return unnormalised(first, rows).double().cpu()[:, None]

    found = of_all_rows(name, setting, config.rows, record)[:, 0]
    score = mean_score(found)
    facts = {"kind": log_z.kind(tight=tight), "rows_standard_error": score.standard_error, "rows": {"real": len(found)}}
    return joined(replace(score, value=score.value - log_z.value, facts=facts), log_z)
