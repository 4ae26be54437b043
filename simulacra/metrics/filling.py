"""How likely the missing part of a picture is, as a model that fills it in tells it."""

from math import log
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from simulacra import config as settings
from simulacra.capabilities import HasFillBound
from simulacra.metrics.likelihood import of_all_rows
from simulacra.metrics.measure import Score, mean_score
from simulacra.metrics.of_model import ModelMeasure, Setting


class FillingConfig(settings.Config):
    """What is asked of the model."""

    rows: int | None = Field(default=None, ge=2, description="test rows, the first ones (default: all)")
    samples: int = Field(default=10, ge=1, description="draws of z behind the bound")
    importance: int = Field(
        default=100, ge=1, description="importance samples behind the estimate, whose targets are bits"
    )


class Filling(ModelMeasure):
    """Mean over test rows of log p(y|x) in nats per row, y what is missing and x what is given.

    `fill_guess` is that of the baseline alone, exactly, and `fill_bound` the bound of eq. 4 of Sohn, Lee & Yan (2015),
    both of grey pixels, whose cross-entropy counts as log-likelihood where it is Bernoulli. `fill_iwae` is the
    importance sampled bound (their eq. 7, with q(z|x, y) as proposal), of bits drawn once per row where the likelihood
    is of bits.
    """

    name, capability = "filling", HasFillBound
    better: ClassVar = {"fill_guess": "higher", "fill_bound": "higher", "fill_iwae": "higher"}
    sides: ClassVar = {"real": "test"}
    Config = FillingConfig
    config: FillingConfig

    def compute(self, model: HasFillBound, setting: Setting) -> dict[str, Score]:
        """The scores. Raises UserError for fewer than two rows, or a value that is not finite."""
        samples, importance = self.config.samples, self.config.importance

        def record(first: int, rows: Tensor) -> Tensor:
            key = {"seed": setting.seed, "start": first}
            guess = model.guess_log_prob(rows, bits=False, **key)
            bound = model.fill_bound(rows, samples, bits=False, **key)
            weights = model.fill_weights(rows, importance, bits=True, **key).double()
            return torch.stack([guess.double(), bound.double(), weights.logsumexp(1) - log(importance)], 1).cpu()

        guess, bound, weighed = of_all_rows(self.name, setting, self.config.rows, record).unbind(1)
        rows, grey, drawn = {"real": len(guess)}, *(("grey", "bits") if model.of_bits else ("values", "values"))
        return {
            "fill_guess": mean_score(guess, kind="exact", targets=grey, rows=rows),
            "fill_bound": mean_score(bound, kind="bound", targets=grey, samples=samples, rows=rows),
            "fill_iwae": mean_score(weighed, kind="bound", targets=drawn, samples=importance, rows=rows),
        }
