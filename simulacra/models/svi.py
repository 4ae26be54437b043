"""Stochastic variational inference: every data point has variational parameters of its own, found by ascending its own
bound (Hoffman, Blei, Wang & Paisley 2013; with a deep decoder as in Kingma & Welling 2014, whose encoder amortises just
this search)."""

from pydantic import Field
from torch import Tensor

from simulacra.data.spec import Spec
from simulacra.models.coders import CoderConfig, Likelihood, decoder_of
from simulacra.models.vae import OneLayer


class SVIConfig(CoderConfig):
    """What the model is made of, and how long each row's posterior is looked for."""

    learned_sigma: bool = Field(
        default=False, description="the Gaussian likelihood's sigma is learned, from `sigma` on"
    )
    inference_steps: int = Field(default=40, ge=1, description="steps of Adam that find one row's posterior")
    inference_rate: float = Field(default=0.5, gt=0, description="their first learning rate; it falls to nothing")


class SVI(OneLayer):
    """No encoder: q(z|x) = N(μ, diag σ²) is fitted to each row anew, from the prior on, whenever it is asked for. So a
    step of training costs as much as `inference_steps` of them, and nothing need be kept for any row."""

    name, Config = "svi", SVIConfig
    config: SVIConfig

    def __init__(self, config: SVIConfig, spec: Spec) -> None:
        likelihood = Likelihood(config.likelihood, config.sigma, config.learned_sigma)
        super().__init__(config, spec, likelihood, config.latent, "diagonal")
        self.decoder = decoder_of(config, spec)

    def numbers(self, x: Tensor) -> Tensor:
        """Mean and log σ² of each row's own q(z|x), `[N, 2J]`."""
        prior = x.new_zeros(len(x), 2 * self.config.latent)
        return self.fitted(x, prior, self.config.inference_steps, self.config.inference_rate)
