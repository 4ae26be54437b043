"""What models trained by a variational bound on log p(x) share: the bound with one draw, and with many of them
(Burda, Grosse & Salakhutdinov 2016, "Importance Weighted Autoencoders"; equations are its)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from math import log
from typing import Generic, TypeVar

import torch
from torch import Tensor

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.capabilities import LogProb
from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model
from simulacra.models.coders import Likelihood
from simulacra.models.posterior import AnyPosterior

Q = TypeVar("Q", bound=AnyPosterior)


class Variational(Model, ABC, Generic[Q]):
    """A model with latents made of standard normal noise `[N, noise]`: p(x, z) and q(z|x), z a function of x and ε."""

    noise: int

    def __init__(self, config: Config, spec: Spec, likelihood: Likelihood) -> None:
        super().__init__(config, spec)
        self.likelihood = likelihood

    @abstractmethod
    def posterior(self, x: Tensor) -> Q:
        """q(z|x) of observed data `[N, ...]`, of the latents next to it where there are several layers."""

    @abstractmethod
    def elbo(self, x: Tensor, epsilon: Tensor) -> Tensor:
        """The ELBO `[N]` of observed x in nats, estimated with one z per row, of the noise ε `[N, noise]`."""

    @abstractmethod
    def log_weights_at(self, x: Tensor, posterior: Q, epsilon: Tensor) -> Tensor:
        """log p(x, z) − log q(z|x) `[N]` of observed x and its posterior, at the z of the noise ε `[N, noise]`."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """The means of p(x|z) for latents `[N, noise]` of the prior; differentiable in them."""

    def importance_weighted(self, batch: Rows, at: At, samples: int) -> Terms:
        """−L_K = −log 1/K Σ_k w_k (eq. 8) `[N]` with K = `samples`: descending it is ascending Σ_k w̃_k ∇ log w_k, the
        weights w̃ being normalised over k (eqs. 13 and 14), each w_k a function of its noise."""
        x = self.observed(batch.x, lambda: at.uniform(*batch.x.shape[1:]))
        weights = self._each_weight(x, self.posterior(x), at.normal(samples, self.noise))
        normalised = weights.detach().softmax(1)
        at.watch("effective_samples", 1.0 / normalised.square().sum(1))
        return {"bound": log(samples) - weights.logsumexp(1)}

    def observed(self, x: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
        """What the likelihood is of: x itself, or bits that are one with the pixel's brightness as probability."""
        return self.likelihood.observed(x, uniform)

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Means of p(x|z) at z from the prior, as images `[n, C, H, W]` in [−1, 1] or vectors; with a Gaussian
        likelihood nothing bounds them."""
        return self.decode(self.prior(n, seed=seed, start=start))

    def prior(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Latents `[n, noise]` of samples start … start+n−1, from N(0, I)."""
        return randomness.sample_normal(n, self.noise, seed=seed, start=start)

    def truncated(self, n: int, threshold: float, *, seed: int = 0, start: int = 0) -> Tensor:
        """Like `sample`, of latents whose every number is within ±`threshold`. Raises UserError where that is not above
        zero."""
        z = randomness.sample_normal(n, self.noise, seed=seed, start=start, truncation=threshold)
        return self.decode(z)

    def log_prob(self, x: Tensor, *, seed: int = 0, start: int = 0) -> LogProb:
        """The ELBO of data rows start … start+N−1: a lower bound on log p(x), in nats, with one z per row.

        Bits are drawn once per row, from (seed, row), where the likelihood is Bernoulli."""
        bits, epsilon = self._observed_once(x, seed, start), self._noise(len(x), 0, seed, start)
        with evaluating(self):
            rows = zip(bits.split(250), epsilon.split(250))
            return LogProb(torch.cat([self.elbo(b, e) for b, e in rows]), "bound")

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
        return torch.cat([self._each_weight(x, posterior, epsilon) for epsilon in noise], dim=1)

    def _each_weight(self, x: Tensor, posterior: Q, epsilon: Tensor) -> Tensor:
        """Log weights `[N, K]` at the noise `[N, K, noise]`."""
        n, k = epsilon.shape[:2]
        again = x.repeat_interleave(k, 0), posterior.repeated(k)
        return self.log_weights_at(*again, epsilon.flatten(0, 1)).unflatten(0, (n, k))

    def _observed_once(self, x: Tensor, seed: int, start: int) -> Tensor:
        """What the likelihood is of, bits being a function of (seed, row)."""
        shape = tuple(x.shape[1:])
        uniform = partial(randomness.sample_uniform, len(x), *shape, seed=seed, start=start, draw=0)
        return self.observed(x.to(self.device), lambda: uniform().to(self.device))

    def _noise(self, n: int, k: int, seed: int, start: int) -> Tensor:
        """ε `[n, noise]` of the k-th z of data rows start … start+n−1."""
        return randomness.sample_normal(n, self.noise, seed=seed, start=start, draw=1 + k).to(self.device)
