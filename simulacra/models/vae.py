"""Variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes"; equations are its)."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.capabilities import LogProb
from simulacra.config import Config
from simulacra.costs import reconstruction
from simulacra.costs.divergences import kl_standard_normal
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model, decoding, in_batches
from simulacra.networks.dcgan import Downsampler, Upsampler
from simulacra.networks.mlp import MLP
from simulacra.precision import full_precision, widen


class VAEConfig(Config):
    """What a VAE is made of."""

    network: Literal["mlp", "conv"] = Field("mlp", description="encoder and decoder: perceptrons or convolutions")
    latent: int = Field(20, ge=1, description="dimensions of the latent z")
    width: int = Field(500, ge=1, description="units of a hidden layer (mlp), channels next to the image (conv)")
    depth: int = Field(2, ge=1, le=100, description="hidden layers of the mlp")
    likelihood: Literal["bernoulli", "gaussian"] = Field("bernoulli", description="p(x|z): of bits, or of real values")
    sigma: float = Field(0.1, gt=0, description="standard deviation of the Gaussian likelihood; the range is [-1, 1]")


class Posterior(NamedTuple):
    """q(z|x) = N(mean, diag exp(log_variance)), both `[N, J]`."""

    mean: Tensor
    log_variance: Tensor

    def at(self, epsilon: Tensor) -> Tensor:
        """z = μ + σ ⊙ ε: the reparameterisation trick (§2.4)."""
        return self.mean + (0.5 * self.log_variance).exp() * epsilon


class VAE(Model):
    """Encoder q(z|x), decoder p(x|z) and prior p(z) = N(0, I)."""

    name, Config = "vae", VAEConfig
    config: VAEConfig

    def __init__(self, config: VAEConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.encoder, self.decoder = _networks(config, spec)

    # The objective

    def cost(self, batch: Rows, at: At, samples: int = 1) -> Terms:
        """The negative ELBO, −L(θ, φ; x) of eq. 3 by the estimator of eq. 10 with L = `samples` draws of z: its two
        terms in nats `[N]`."""
        x = self.observed(batch.x, lambda: at.uniform(*batch.x.shape[1:]))
        posterior = self.posterior(x)
        noise = [at.normal(self.config.latent) for _ in range(samples)]
        losses = [self.reconstruction_loss(x, posterior.at(epsilon)) for epsilon in noise]
        return {"reconstruction": torch.stack(losses).mean(0), "kl": kl_standard_normal(*posterior)}

    def observed(self, x: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
        """What the likelihood is of: x itself, or bits that are one with the pixel's brightness as probability."""
        if self.config.likelihood == "gaussian":
            return x
        return (uniform() < 0.5 * (x + 1.0)).to(x.dtype)

    def posterior(self, x: Tensor) -> Posterior:
        """q(z|x) of observed data `[N, ...]`."""
        mean, log_variance = widen(self.encoder(x)).chunk(2, dim=1)
        return Posterior(mean, log_variance)

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """−log p(x|z) `[N]` in nats."""
        output = widen(self.decoder(z))
        with full_precision(x.device):
            if self.config.likelihood == "gaussian":
                return reconstruction.gaussian(output, x, self.config.sigma)
            return reconstruction.bernoulli(output, x)

    # The verbs

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Means of p(x|z) at z from the prior, as images `[n, C, H, W]` in [−1, 1] or vectors; with a Gaussian
        likelihood nothing bounds them."""
        return self.decode(self.prior(n, seed=seed, start=start))

    def prior(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """z `[n, J]` of samples start … start+n−1, from N(0, I)."""
        return randomness.sample_normal(n, self.config.latent, seed=seed, start=start)

    def truncated(self, n: int, threshold: float, *, seed: int = 0, start: int = 0) -> Tensor:
        """Like `sample`, of z whose every number is within ±`threshold`. Raises UserError where that is not above
        zero."""
        z = randomness.sample_normal(n, self.config.latent, seed=seed, start=start, truncation=threshold)
        return self.decode(z)

    def encode(self, x: Tensor) -> Tensor:
        """The posterior's means `[N, J]` for data `[N, ...]` in [−1, 1]."""
        with evaluating(self):
            return in_batches(lambda rows: self.posterior(self._unit(rows)).mean, x.to(self.device))

    def decode(self, z: Tensor) -> Tensor:
        """The means of p(x|z) for codes `[N, J]`; differentiable in them."""
        with decoding(self, z):
            return in_batches(self._mean, z.to(self.device))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Decoded means of data `[N, ...]` in [−1, 1]."""
        return self.decode(self.encode(x))

    def log_prob(self, x: Tensor, *, seed: int = 0, start: int = 0) -> LogProb:
        """The ELBO of data rows start … start+N−1: a lower bound on log p(x), in nats, with one z per row.

        Bits are drawn once per row, from (seed, row), where the likelihood is Bernoulli."""
        bits, epsilon = self._observed_once(x, seed, start), self._noise(len(x), 0, seed, start)
        with evaluating(self):
            rows = zip(bits.split(250), epsilon.split(250))
            return LogProb(torch.cat([self._elbo(b, e) for b, e in rows]), "bound")

    def log_weights(self, x: Tensor, samples: int, *, seed: int = 0, start: int = 0, first: int = 0) -> Tensor:
        """log p(x, z_k) − log q(z_k|x) `[N, samples]` of data rows start … start+N−1 and k = first …
        first+samples−1, in nats, for the same bits as `log_prob`'s, whose z is that of k = 0.

        Decodes 250 at a time; memory beside `x` and the weights does not grow with their number."""
        bits, ks = self._observed_once(x, seed, start), range(first, first + samples)
        with evaluating(self):
            rows = zip(bits.split(250), range(start, start + max(len(x), 1), 250))
            return torch.cat([self._weights_of(b, ks, seed, at) for b, at in rows])

    def _weights_of(self, x: Tensor, ks: range, seed: int, start: int) -> Tensor:
        posterior, each = self.posterior(x), 250 // max(len(x), 1)
        parts = [ks[k : k + each] for k in range(0, len(ks), each)]
        noise = (torch.stack([self._noise(len(x), k, seed, start) for k in part], dim=1) for part in parts)
        return torch.cat([self._log_weights(x, posterior, epsilon) for epsilon in noise], dim=1)

    def _log_weights(self, x: Tensor, posterior: Posterior, epsilon: Tensor) -> Tensor:
        """log p(x, z) − log q(z|x) `[N, K]` at z = μ + σ ⊙ ε, ε being `[N, K, J]`."""
        mean, log_variance = (part[:, None] for part in posterior)
        z = Posterior(mean, log_variance).at(epsilon)
        each = x[:, None].expand(-1, z.shape[1], *x.shape[1:])
        fit = self.reconstruction_loss(each.flatten(0, 1), z.flatten(0, 1)).unflatten(0, z.shape[:2])
        return 0.5 * (epsilon.square() - z.square() + log_variance).sum(2) - fit

    def _observed_once(self, x: Tensor, seed: int, start: int) -> Tensor:
        """What the likelihood is of, bits being a function of (seed, row)."""
        shape = tuple(x.shape[1:])
        uniform = partial(randomness.sample_uniform, len(x), *shape, seed=seed, start=start, draw=0)
        return self.observed(x.to(self.device), lambda: uniform().to(self.device))

    def _noise(self, n: int, k: int, seed: int, start: int) -> Tensor:
        """ε `[n, J]` of the k-th z of data rows start … start+n−1."""
        return randomness.sample_normal(n, self.config.latent, seed=seed, start=start, draw=1 + k).to(self.device)

    def _elbo(self, x: Tensor, epsilon: Tensor) -> Tensor:
        posterior = self.posterior(x)
        return -self.reconstruction_loss(x, posterior.at(epsilon)) - kl_standard_normal(*posterior)

    def _mean(self, z: Tensor) -> Tensor:
        output = self.decoder(z)
        return output if self.config.likelihood == "gaussian" else 2.0 * output.sigmoid() - 1.0

    def _unit(self, x: Tensor) -> Tensor:
        """Data on the scale the encoder was trained on: brightness in [0, 1] for bits."""
        return x if self.config.likelihood == "gaussian" else 0.5 * (x + 1.0)


def _networks(config: VAEConfig, spec: Spec) -> tuple[nn.Module, nn.Module]:
    if config.network == "mlp":
        encoder = MLP(spec.shape, (2 * config.latent,), config.width, config.depth)
        return encoder, MLP((config.latent,), spec.shape, config.width, config.depth)
    encoder = Downsampler(spec.image_shape, 2 * config.latent, config.width, batch_norm=False)
    return encoder, Upsampler(config.latent, spec.image_shape, config.width, batch_norm=False, final=nn.Identity)
