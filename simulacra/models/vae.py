"""Variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes"; equations are its)."""

import torch
from pydantic import Field
from torch import Tensor

from simulacra.buffers import evaluating
from simulacra.costs.divergences import free_bits
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import decoding, in_batches
from simulacra.models.coders import CoderConfig, Likelihood, coders
from simulacra.models.posterior import AnyPosterior, Covariance, Posterior, numbers_of, posterior_from
from simulacra.models.variational import Variational
from simulacra.precision import widen

__all__ = ["VAE", "Posterior", "VAEConfig"]


class VAEConfig(CoderConfig):
    """What a VAE is made of."""

    learned_sigma: bool = Field(False, description="the Gaussian likelihood's sigma is learned, from `sigma` on")
    covariance: Covariance = Field("diagonal", description="q(z|x): independent dimensions, or any covariance")


class VAE(Variational[AnyPosterior]):
    """Encoder q(z|x), decoder p(x|z) and prior p(z) = N(0, I)."""

    name, Config = "vae", VAEConfig
    config: VAEConfig

    def __init__(self, config: VAEConfig, spec: Spec) -> None:
        super().__init__(config, spec, Likelihood(config.likelihood, config.sigma, config.learned_sigma))
        self.encoder, self.decoder = coders(config, spec, numbers_of(config.covariance, config.latent))
        self.noise = config.latent

    # The objective

    def cost(self, batch: Rows, at: At, samples: int = 1, beta: float = 1.0, floor: float = 0.0) -> Terms:
        """The negative ELBO, −L(θ, φ; x) of eq. 3 by the estimator of eq. 10 with L = `samples` draws of z: its two
        terms in nats `[N]`.

        `beta` weighs the divergence (Higgins et al. 2017, beta-VAE, eq. 4). With free bits, a `floor` above 0, the
        divergence is a scalar: no dimension, on average over the batch, counts less than `floor` nats
        (`divergences.free_bits`). With either, the plain divergence is logged as `kl_plain`."""
        x = self.observed(batch.x, lambda: at.uniform(*batch.x.shape[1:]))
        posterior = self.posterior(x)
        noise = [at.normal(self.config.latent) for _ in range(samples)]
        losses = [self.reconstruction_loss(x, posterior.at(epsilon)) for epsilon in noise]
        kl = free_bits(posterior.kl_of_each(), floor) if floor else posterior.kl()
        if floor or beta != 1.0:
            at.watch("kl_plain", posterior.kl())
        return {"reconstruction": torch.stack(losses).mean(0), "kl": kl if beta == 1.0 else beta * kl}

    def posterior(self, x: Tensor) -> AnyPosterior:
        """q(z|x) of observed data `[N, ...]`."""
        return posterior_from(widen(self.encoder(x)), self.config.covariance, self.config.latent)

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """−log p(x|z) `[N]` in nats."""
        return self.likelihood.loss(self.decoder(z), x)

    def elbo(self, x: Tensor, epsilon: Tensor) -> Tensor:
        """The ELBO `[N]` of observed x in nats, with one z per row, of the noise ε `[N, J]`."""
        posterior = self.posterior(x)
        return -self.reconstruction_loss(x, posterior.at(epsilon)) - posterior.kl()

    def log_weights_at(self, x: Tensor, posterior: AnyPosterior, epsilon: Tensor) -> Tensor:
        """log p(x, z) − log q(z|x) `[N]` of observed x and its posterior, at the z of the noise ε `[N, J]`."""
        return posterior.log_ratio(epsilon) - self.reconstruction_loss(x, posterior.at(epsilon))

    # The verbs, beside those of every variational model

    def encode(self, x: Tensor) -> Tensor:
        """The posterior's means `[N, J]` for data `[N, ...]` in [−1, 1]."""
        with evaluating(self):
            return in_batches(lambda rows: self.posterior(self.likelihood.unit(rows)).mean, x.to(self.device))

    def decode(self, z: Tensor) -> Tensor:
        """The means of p(x|z) for codes `[N, J]`; differentiable in them."""
        with decoding(self, z):
            return in_batches(lambda codes: self.likelihood.mean(self.decoder(codes)), z.to(self.device))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Decoded means of data `[N, ...]` in [−1, 1]."""
        return self.decode(self.encode(x))
