"""Adversarial variational Bayes (Mescheder, Nowozin & Geiger 2017): a posterior of any shape, drawn by a network from
noise, whose divergence from the prior a second network estimates by telling the two apart.

With adaptive contrast (§4) it is told apart not from the prior but from a Gaussian r(z|x) of its own mean and
covariance, which it is much closer to; what is left of the divergence is then known. The paper's r has independent
dimensions: there the ratio network also has to find how dimensions go together.
"""

from math import prod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.capabilities import LogProb
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import in_batches
from simulacra.models.coders import CoderConfig, Likelihood, coders
from simulacra.models.posterior import FullPosterior
from simulacra.models.variational import Weighted
from simulacra.networks.implicit import Implicit, NoiseBasis
from simulacra.networks.mlp import MLP
from simulacra.precision import widen

MOMENTS, DRAWS = 1, 128
"""Key and number of the noise over which the posterior's mean and covariance are taken."""
LEAST = 1e-5  # added to the contrast's variance in every direction


class AVBConfig(CoderConfig):
    """What the model is made of."""

    contrast: Literal["full", "diagonal", "prior"] = Field(
        default="full",
        description="what q(z|x) is told from: a Gaussian of its covariance or of its variances, or the prior",
    )
    basis: int = Field(default=32, ge=1, description="m, networks that bend noise")
    basis_noise: int = Field(default=16, ge=1, description="dimensions of the noise of each")
    basis_width: int = Field(default=64, ge=1, description="units of a hidden layer of each")
    ratio_width: int = Field(default=512, ge=1, description="units of a hidden layer of the ratio network")
    ratio_depth: int = Field(default=3, ge=1, le=100, description="hidden layers of the ratio network")


def factor_of(covariance: Tensor) -> Tensor:
    """The lower triangular L with L Lᵀ = `covariance` `[N, J, J]`; of one that rounding has left without, that of its
    diagonal. Waits for no device."""
    lower, failed = torch.linalg.cholesky_ex(covariance)
    plain = covariance.diagonal(dim1=1, dim2=2).sqrt().diag_embed()
    return torch.where((failed == 0)[:, None, None], lower, plain)


class Coder(nn.Module):
    """The player that descends the bound: the implicit encoder, and the decoder."""

    def __init__(self, encoder: Implicit, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


class AVB(Weighted[FullPosterior]):
    """Encoder z(x, ε), decoder p(x|z), prior p(z) = N(0, I), and a ratio network T(x, z̃), which remains: it estimates
    log q(z|x) − log r(z|x)."""

    name, Config = "avb", AVBConfig
    config: AVBConfig

    def __init__(self, config: AVBConfig, spec: Spec) -> None:
        super().__init__(config, spec, Likelihood(config.likelihood, config.sigma))
        self.latents, latent = config.latent, config.latent
        trunk, decoder = coders(config, spec, (config.basis + 1) * latent)
        basis = NoiseBasis(config.basis, config.basis_noise, latent, config.basis_width)
        probe = randomness.sample_normal(DRAWS, config.basis, config.basis_noise, seed=MOMENTS).to(basis.weights[0])
        self.coder = Coder(Implicit(trunk, basis, probe, latent), decoder)
        self.ratio = MLP((prod(spec.shape) + 2 * latent,), (1,), config.ratio_width, config.ratio_depth, nn.ELU)

    def output(self, z: Tensor) -> Tensor:
        """What the decoder says of latents `[N, J]`."""
        return self.coder.decoder(z)

    # The game

    def descend(self, batch: Rows, at: At) -> Terms:
        """−ELBO as far as it is known, in nats `[N]`: −log p(x|z), and log q(z|x) − log p(z) in two parts, T(x, z̃) and
        log r(z|x) − log p(z) (Algorithm 2). T's own dependence on q is left out: it is nothing in expectation where T
        is the best (Proposition 2)."""
        x = self._observed(batch, at)
        z, contrast = self._drawn(x, at)
        standardised = contrast.noise_of(z)
        return {
            "reconstruction": self.likelihood.loss(self.output(z), x),
            "ratio": self._told(x, standardised),
            "contrast": -contrast.log_ratio(standardised),
        }

    def tell_apart(self, batch: Rows, at: At) -> Terms:
        """The ratio network's cost `[N]`: the cross-entropy of telling z̃ of q(z|x), called 1, from N(0, I), called 0
        (eq. 3.3), so that T comes to log q − log r, not to its negative."""
        x = self._observed(batch, at)
        with torch.no_grad():
            z, contrast = self._drawn(x, at)
            posterior, other = contrast.noise_of(z), at.normal(self.latents)
        ours, theirs = self._told(x, posterior), self._told(x, other)
        at.watch("accuracy", 0.5 * ((ours > 0).float() + (theirs < 0).float()))
        return {"posterior": softplus(-ours), "contrast": softplus(theirs)}

    def _observed(self, batch: Rows, at: At) -> Tensor:
        return self.observed(batch.x, lambda: at.uniform(*batch.x.shape[1:]))

    def _drawn(self, x: Tensor, at: At) -> tuple[Tensor, FullPosterior]:
        return self.drawn(x, at.normal(self.config.basis, self.config.basis_noise))

    def drawn(self, x: Tensor, epsilon: Tensor) -> tuple[Tensor, FullPosterior]:
        """z ~ q(z|x) `[N, J]` of observed x, of the noise ε `[N, m, e]`, and the r(z|x) that it is told from, without
        gradients: the bound holds whatever r is."""
        mean, scales = self._widened(x)
        z = mean + (scales * widen(self.coder.encoder.basis(epsilon))).sum(1)
        with torch.no_grad():
            if self.config.contrast == "prior":
                return z, FullPosterior(torch.zeros_like(mean), self._unit(mean))
            return z, self._matched(mean, scales, self.config.contrast == "full")

    def proposal(self, x: Tensor) -> FullPosterior:
        """A Gaussian of the mean and covariance of q(z|x), whatever the contrast. Its importance weights bound log p(x)
        and ask nothing of the ratio network."""
        return self._matched(*self._widened(x), full=True)

    def log_weights_at(self, x: Tensor, q: FullPosterior, epsilon: Tensor) -> Tensor:
        """log p(x, z) − log q(z|x) `[N]` of observed x and the proposal q, at the z of the noise ε `[N, J]`."""
        return q.log_ratio(epsilon) - self.likelihood.loss(self.output(q.at(epsilon)), x)

    def _widened(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the encoder makes of observed x alone, in float32 or better."""
        return tuple(widen(part) for part in self.coder.encoder(x))

    def _matched(self, mean: Tensor, scales: Tensor, full: bool) -> FullPosterior:
        """The Gaussian of the mean and covariance of z given x, or of its variances alone."""
        centre, covariance = self.coder.encoder.moments(mean, scales, full)
        return FullPosterior(centre, factor_of(covariance + LEAST * self._unit(mean)))

    def _unit(self, mean: Tensor) -> Tensor:
        return torch.eye(self.latents).to(mean).expand(len(mean), -1, -1)

    def _told(self, x: Tensor, z: Tensor) -> Tensor:
        """T(x, z̃) `[N]`. It sees squares too: far out log q − log r(z̃) grows like ½‖z̃‖², and where T lags behind that,
        the coder is paid for posteriors with ever fatter tails."""
        return widen(self.ratio(torch.cat([x.flatten(1), z.to(x.dtype), z.square().to(x.dtype)], 1))).flatten()

    # The verbs, beside those of every model with such a prior

    def log_prob(self, x: Tensor, *, seed: int = 0, start: int = 0) -> LogProb:
        """The ELBO of data rows start … start+N−1 in nats, with one z per row, as far as the ratio network can be
        believed: an estimate, and no bound (`log_weights` gives bounds). Bits are drawn once per row, where the
        likelihood is Bernoulli."""
        bits, shape = self._observed_once(x, seed, start), (self.config.basis, self.config.basis_noise)
        epsilon = randomness.sample_normal(len(x), *shape, seed=seed, start=start, draw=1).to(bits)
        with evaluating(self):
            parts = zip(bits.split(250), epsilon.split(250))
            return LogProb(torch.cat([self._estimate(b, e) for b, e in parts]), "estimate")

    def _estimate(self, x: Tensor, epsilon: Tensor) -> Tensor:
        z, contrast = self.drawn(x, epsilon)
        standardised = contrast.noise_of(z)
        known = contrast.log_ratio(standardised) - self.likelihood.loss(self.output(z), x)
        return known - self._told(x, standardised)

    def encode(self, x: Tensor) -> Tensor:
        """The posterior's means `[N, J]` for data `[N, ...]` in [−1, 1]."""
        with evaluating(self):
            return in_batches(self._mean, self._admitted(x))

    def _mean(self, x: Tensor) -> Tensor:
        encoder = self.coder.encoder
        return encoder.moments(*encoder(self.likelihood.unit(x)), full=False)[0]
