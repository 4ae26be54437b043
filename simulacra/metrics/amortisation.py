"""What an encoder that serves all rows loses against variational parameters of each row's own."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from simulacra import config as settings
from simulacra.capabilities import HasLocalBounds
from simulacra.metrics.likelihood import of_all_rows
from simulacra.metrics.measure import Score, mean_score
from simulacra.metrics.of_model import ModelMeasure, Setting


class AmortisationConfig(settings.Config):
    """How each row's own posterior is looked for."""

    rows: int | None = Field(default=500, ge=2, description="test rows, the first ones (none: all)")
    steps: int = Field(
        default=500, ge=1, description="steps of Adam on each row's own parameters, from the encoder's on"
    )
    rate: float = Field(default=0.02, gt=0, description="their first learning rate; it falls to nothing")
    samples: int = Field(default=100, ge=1, description="draws of z that both bounds are averaged over")


class AmortisationGap(ModelMeasure):
    """Mean over test rows of the ELBO at each row's own best q(z|x) less that at the encoder's, in nats per row: the
    amortisation gap of Cremer, Li & Duvenaud (2018, §3), for posteriors of the model's own family.

    Both bounds are taken with the same draws, other ones than those by which the rows' own posteriors are found.
    Finding the best may fall short of it, so the gap is a lower bound on the true one, up to its standard error. `elbo`
    is the encoder's mean bound, `refined` that of the rows' own.
    """

    name, better, capability = "amortisation_gap", {"amortisation_gap": "lower"}, HasLocalBounds
    sides: ClassVar = {"real": "test"}
    Config = AmortisationConfig
    config: AmortisationConfig

    def compute(self, model: HasLocalBounds, setting: Setting) -> dict[str, Score]:
        """The score. Raises UserError for fewer than two rows, or a bound that is not finite."""
        own, config = ("steps", "rate", "samples"), self.config
        chosen = {name: getattr(config, name) for name in own}

        def record(first: int, rows: Tensor) -> Tensor:
            both = model.local_bounds(rows, **chosen, seed=setting.seed, start=first)
            amortised, refined = (bound.double().cpu() for bound in both)
            return torch.stack([refined - amortised, amortised, refined], 1)

        records = of_all_rows(self.name, setting, config.rows, record)
        gaps, elbo, refined = records.unbind(1)
        facts = {"elbo": elbo.mean().item(), "refined": refined.mean().item(), "rows": {"real": len(records)}}
        return {"amortisation_gap": mean_score(gaps, **chosen, **facts)}
