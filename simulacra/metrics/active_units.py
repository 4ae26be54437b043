"""How many latents a model uses: what tells whether its posterior has collapsed onto the prior."""

from typing import ClassVar

import torch
from pydantic import Field

from simulacra import config as settings
from simulacra.capabilities import Encodes, EncodesInLayers
from simulacra.errors import UserError
from simulacra.metrics.measure import Kept, Score
from simulacra.metrics.of_model import ModelMeasure, Setting


class ActiveUnitsConfig(settings.Config):
    """What counts as active."""

    threshold: float = Field(
        default=0.01, gt=0, description="variance over rows of a latent's mean, above which it is active"
    )
    rows: int | None = Field(default=None, ge=2, description="test rows, the first ones (default: all)")


class ActiveUnits(ModelMeasure):
    """The number of latents z_j whose posterior mean tells rows apart: A_j = Var_x(E[z_j|x]) > 0.01 (Burda, Grosse &
    Salakhutdinov 2016, §5.2), of test rows, means by the model's `encode`.

    A latent whose posterior is the prior for every x has A_j = 0. `latents` is how many there are, `variance` the sum
    of their A_j, and `active_in_layers` the count in each layer of those of *hvae*, whose codes are what a layer adds
    to what the one above says of it, in that one's deviations: a latent that varies as was foretold is idle. Of codes
    that are no posterior means in units of a standard normal prior, such as an autoencoder's, the threshold means
    nothing.
    """

    name, better, capability = "active_units", {"active_units": "neither"}, Encodes
    sides: ClassVar = {"real": "test"}
    Config = ActiveUnitsConfig
    config: ActiveUnitsConfig

    def compute(self, model: Encodes, setting: Setting) -> dict[str, Score]:
        """The score. Raises UserError for fewer than two rows, or codes that are not finite."""
        kept = Kept()
        for first, rows in setting.test(self.config.rows):
            kept.add(torch.arange(first, first + len(rows)), model.encode(rows).double().cpu())
        codes = kept.rows(setting.table)
        if len(codes) < 2:
            raise UserError(f"{self.name} needs at least 2 test rows: there are {len(codes)}")
        if not torch.isfinite(codes).all():
            raise UserError(f"{self.name}: the code of a test row is not finite")
        variances = codes.flatten(1).var(0)
        active = int((variances > self.config.threshold).sum())
        facts = {"latents": len(variances), "variance": variances.sum().item(), "rows": {"real": len(codes)}}
        notes = () if active else (f"no latent tells {COLLAPSED}",)
        if isinstance(model, EncodesInLayers):
            parts = variances.split(list(model.latent_layers))
            each = [int((part > self.config.threshold).sum()) for part in parts]
            facts["active_in_layers"] = each
            idle = (number for number, units in enumerate(each, 1) if not units)
            notes = notes or tuple(f"no latent of layer {number} tells {COLLAPSED}" for number in idle)
        return {"active_units": Score(value=float(active), facts=facts, notes=notes)}


COLLAPSED = (
    "test rows apart: the posterior has collapsed onto the prior; try a weaker decoder, or, with vae and hvae, "
    "--warm-up 0.25 or --free-bits"
)
