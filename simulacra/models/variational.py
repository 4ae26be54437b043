"""What models trained by a variational bound on log p(x) share: the bound with one draw, and with many of them
(Burda, Grosse & Salakhutdinov 2016, "Importance Weighted Autoencoders"; equations are its)."""

from abc import ABC, abstractmethod
from math import log
from typing import Generic, TypeVar

import torch
from torch import Tensor

from simulacra.buffers import evaluating
from simulacra.capabilities import LogProb
from simulacra.errors import UserError
from simulacra.game import At, Rows, Terms
from simulacra.models.latent import Latent
from simulacra.models.posterior import AnyPosterior

Q = TypeVar("Q", bound=AnyPosterior)


class Weighted(Latent, ABC, Generic[Q]):
    """A model with latents made of standard normal noise, p(x, z), and a proposal for them given x: a Gaussian of known
    density, so that log p(x) is the log of a mean of importance weights."""

    @abstractmethod
    def proposal(self, x: Tensor) -> Q:
        """The proposal for observed data `[N, ...]`, of the latents next to it where there are several layers."""

    @abstractmethod
    def log_weights_at(self, x: Tensor, q: Q, epsilon: Tensor) -> Tensor:
        """log p(x, z) − log q(z|x) `[N]` of observed x and its proposal q, at the z of the noise ε `[N, latents]`."""

    def log_weights(self, x: Tensor, samples: int, *, seed: int = 0, start: int = 0, first: int = 0) -> Tensor:
        """log p(x, z_k) − log q(z_k|x) `[N, samples]` of data rows start … start+N−1 and k = first …
        first+samples−1, in nats, q being the proposal, for the same bits as `log_prob`'s.

        Decodes 250 at a time; memory beside `x` and the weights does not grow with their number. Raises UserError for
        fewer than one sample."""
        if samples < 1:
            raise UserError(f"{samples} importance weights: ask for at least 1")
        bits, ks = self._observed_once(x, seed, start), range(first, first + samples)
        with evaluating(self):
            rows = zip(bits.split(250), range(start, start + max(len(x), 1), 250))
            return torch.cat([self._weights_of(b, ks, seed, at) for b, at in rows])

    def _weights_of(self, x: Tensor, ks: range, seed: int, start: int) -> Tensor:
        q, each = self.proposal(x), 250 // max(len(x), 1)
        parts = [ks[k : k + each] for k in range(0, len(ks), each)]
        noise = (torch.stack([self._noise(len(x), k, seed, start) for k in part], dim=1) for part in parts)
        return torch.cat([self._each_weight(x, q, epsilon) for epsilon in noise], dim=1)

    def _each_weight(self, x: Tensor, q: Q, epsilon: Tensor) -> Tensor:
        """Log weights `[N, K]` at the noise `[N, K, latents]`."""
        n, k = epsilon.shape[:2]
        again = x.repeat_interleave(k, 0), q.repeated(k)
        return self.log_weights_at(*again, epsilon.flatten(0, 1)).unflatten(0, (n, k))


class Variational(Weighted[Q], ABC):
    """A model whose posterior q(z|x) is the proposal, and is trained with it."""

    @abstractmethod
    def posterior(self, x: Tensor) -> Q:
        """q(z|x) of observed data `[N, ...]`, of the latents next to it where there are several layers."""

    @abstractmethod
    def elbo(self, x: Tensor, epsilon: Tensor) -> Tensor:
        """The ELBO `[N]` of observed x in nats, estimated with one z per row, of the noise ε `[N, latents]`."""

    def proposal(self, x: Tensor) -> Q:
        """The posterior."""
        return self.posterior(x)

    def importance_weighted(self, batch: Rows, at: At, samples: int) -> Terms:
        """−L_K = −log 1/K Σ_k w_k (eq. 8) `[N]` with K = `samples`: descending it is ascending Σ_k w̃_k ∇ log w_k, the
        weights w̃ being normalised over k (eqs. 13 and 14), each w_k a function of its noise."""
        x = self.observed(batch.x, lambda: at.uniform(*batch.x.shape[1:]))
        weights = self._each_weight(x, self.posterior(x), at.normal(samples, self.latents))
        normalised = weights.detach().softmax(1)
        at.watch("effective_samples", 1.0 / normalised.square().sum(1))
        return {"bound": log(samples) - weights.logsumexp(1)}

    def log_prob(self, x: Tensor, *, seed: int = 0, start: int = 0) -> LogProb:
        """The ELBO of data rows start … start+N−1: a lower bound on log p(x), in nats, with one z per row,
        that of the first importance weight.

        Bits are drawn once per row, from (seed, row), where the likelihood is Bernoulli."""
        bits, epsilon = self._observed_once(x, seed, start), self._noise(len(x), 0, seed, start)
        with evaluating(self):
            rows = zip(bits.split(250), epsilon.split(250))
            return LogProb(torch.cat([self.elbo(b, e) for b, e in rows]), "bound")
