"""Variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes"; equations are its)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import cos, pi

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.config import Config
from simulacra.costs.divergences import free_bits, warmed
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import in_batches
from simulacra.models.coders import CoderConfig, Likelihood, coders
from simulacra.models.posterior import AnyPosterior, Posterior, PosteriorKind, numbers_of, posterior_from
from simulacra.models.variational import Variational
from simulacra.precision import widen

__all__ = ["VAE", "OneLayer", "Posterior", "VAEConfig"]

INFERENCE = 1  # key of the noise by which single rows' posteriors are fitted


class VAEConfig(CoderConfig):
    """What a VAE is made of."""

    learned_sigma: bool = Field(
        default=False, description="the Gaussian likelihood's sigma is learned, from `sigma` on"
    )
    covariance: PosteriorKind = Field(
        default="diagonal", description="q(z|x): independent dimensions, or any covariance"
    )


class OneLayer(Variational[AnyPosterior], ABC):
    """p(x|z) by a decoder, p(z) = N(0, I), and a Gaussian q(z|x) however it is found."""

    decoder: nn.Module

    def __init__(
        self, config: Config, spec: Spec, likelihood: Likelihood, latent: int, covariance: PosteriorKind
    ) -> None:
        super().__init__(config, spec, likelihood)
        self.latents = latent
        self.covariance: PosteriorKind = covariance

    @abstractmethod
    def numbers(self, x: Tensor) -> Tensor:
        """What q(z|x) of observed data `[N, ...]` is made of by `posterior_from`: `[N, K]`."""

    def output(self, z: Tensor) -> Tensor:
        """What the decoder says of codes `[N, J]`."""
        return self.decoder(z)

    # The objective

    def cost(
        self,
        batch: Rows,
        at: At,
        samples: int = 1,
        beta: float = 1.0,
        floor: float = 0.0,
        warm_up: float = 0.0,
    ) -> Terms:
        """The negative ELBO, −L(θ, φ; x) of eq. 3 by the estimator of eq. 10 with L = `samples` draws of z: its two
        terms in nats `[N]`.

        `beta` weighs the divergence (Higgins et al. 2017, beta-VAE, eq. 4). With free bits, a `floor` above 0, the
        divergence is a scalar: no dimension, on average over the batch, counts less than `floor` nats
        (`divergences.free_bits`). `warm_up` is the share of the training over which its weight rises from nothing
        (`divergences.warmed`). With any of them, the plain divergence is logged as `kl_plain`."""
        x = self.observed(batch.x, lambda: at.uniform(*batch.x.shape[1:]))
        posterior = self.posterior(x)
        noise = [at.normal(self.latents) for _ in range(samples)]
        losses = [self.reconstruction_loss(x, posterior.at(epsilon)) for epsilon in noise]
        kl = free_bits(posterior.kl_of_each(), floor) if floor else posterior.kl()
        weight = beta * warmed(at.progress, warm_up)
        if floor or warm_up or beta != 1.0:
            at.watch("kl_plain", posterior.kl())
        return {"reconstruction": torch.stack(losses).mean(0), "kl": kl if weight == 1.0 else weight * kl}

    def posterior(self, x: Tensor) -> AnyPosterior:
        """q(z|x) of observed data `[N, ...]`."""
        return posterior_from(self.numbers(x), self.covariance, self.latents)

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """−log p(x|z) `[N]` in nats."""
        return self.likelihood.loss(self.decoder(z), x)

    def elbo(self, x: Tensor, epsilon: Tensor) -> Tensor:
        """The ELBO `[N]` of observed x in nats, with one z per row, of the noise ε `[N, J]`."""
        return self.elbo_by(self.posterior(x), x, epsilon)

    def elbo_by(self, posterior: AnyPosterior, x: Tensor, epsilon: Tensor) -> Tensor:
        """The same of any other q(z|x)."""
        return -self.reconstruction_loss(x, posterior.at(epsilon)) - posterior.kl()

    def log_weights_at(self, x: Tensor, q: AnyPosterior, epsilon: Tensor) -> Tensor:
        """log p(x, z) − log q(z|x) `[N]` of observed x and q(z|x), at the z of the noise ε `[N, J]`."""
        return q.log_ratio(epsilon) - self.reconstruction_loss(x, q.at(epsilon))

    def fitted(self, x: Tensor, start: Tensor, steps: int, rate: float) -> Tensor:
        """The `numbers` `[N, K]` of each row's own posterior: `steps` of Adam on the row's negative ELBO from `start`
        on, at a rate that falls to nothing as a cosine does. The decoder stays as it is. The k-th z is of the k-th
        noise, every other one the negative of the one before; it is the same for every row, so that a row's posterior
        is a function of the row."""
        half = randomness.sample_normal((steps + 1) // 2, self.latents, seed=INFERENCE).to(start)
        noise = torch.stack([half, -half], 1).flatten(0, 1)
        with torch.enable_grad():
            numbers = start.detach().clone().requires_grad_()
            adam = torch.optim.Adam([numbers], lr=rate)
            for k in range(steps):
                adam.param_groups[0]["lr"] = rate * 0.5 * (1.0 + cos(pi * k / steps))
                posterior = posterior_from(numbers, self.covariance, self.latents)
                loss = -self.elbo_by(posterior, x, noise[k].expand(len(x), -1)).sum()
                numbers.grad = torch.autograd.grad(loss, numbers)[0]
                adam.step()
        return numbers.detach()

    # The verbs, beside those of every variational model

    def local_bounds(
        self, x: Tensor, *, steps: int, rate: float, samples: int, seed: int = 0, start: int = 0
    ) -> tuple[Tensor, Tensor]:
        """The ELBO `[N]` of data rows start … start+N−1 in nats, of q(z|x) as the model finds it, and of the same after
        `steps` of Adam on each row's own (`fitted`); both with the same `samples` draws of noise, those of
        `log_weights`."""
        observed, found = self._observed_once(x, seed, start), []
        with evaluating(self):
            for number, rows in enumerate(observed.split(250)):
                first = self.numbers(rows)
                both = (
                    posterior_from(n, self.covariance, self.latents)
                    for n in (first, self.fitted(rows, first, steps, rate))
                )
                noise = [self._noise(len(rows), k, seed, start + 250 * number) for k in range(samples)]
                found.append(torch.stack([self._mean_bound(q, rows, noise) for q in both]))
        amortised, refined = torch.cat(found, 1)
        return amortised, refined

    def _mean_bound(self, posterior: AnyPosterior, x: Tensor, noise: Sequence[Tensor]) -> Tensor:
        return torch.stack([self.elbo_by(posterior, x, epsilon).double() for epsilon in noise]).mean(0)

    def encode(self, x: Tensor) -> Tensor:
        """The posterior's means `[N, J]` for data `[N, ...]` in [−1, 1]."""
        with evaluating(self):
            return in_batches(lambda rows: self.posterior(self.likelihood.unit(rows)).mean, self._admitted(x))


class VAE(OneLayer):
    """An encoder finds q(z|x)."""

    name, Config = "vae", VAEConfig
    config: VAEConfig

    def __init__(self, config: VAEConfig, spec: Spec) -> None:
        likelihood = Likelihood(config.likelihood, config.sigma, config.learned_sigma)
        super().__init__(config, spec, likelihood, config.latent, config.covariance)
        numbers = numbers_of(config.covariance, config.latent)
        self.encoder, self.decoder = coders(config, spec, numbers)
        _uncorrelated(self.encoder, 2 * config.latent)

    def numbers(self, x: Tensor) -> Tensor:
        """What the encoder says of observed data `[N, ...]`: `[N, K]`."""
        return widen(self.encoder(x))


@torch.no_grad()
def _uncorrelated(encoder: nn.Module, first: int) -> None:
    """Zero all outputs of an encoder but the `first`: a full covariance starts as a diagonal one. (From random
    correlations, 1 225 of 50 latents, a run on MNIST came to a bound 6 nats worse.)"""
    *_, last = (layer for layer in encoder.modules() if isinstance(layer, nn.Linear))
    last.weight[first:] = 0.0
    last.bias[first:] = 0.0
