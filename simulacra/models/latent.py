"""What models with a standard normal prior and a likelihood share: how their samples are drawn, and what they see."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from torch import Tensor

from simulacra import randomness
from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.models.base import Model, decoding, in_batches
from simulacra.models.bits import DRAWN
from simulacra.models.coders import Likelihood


class Latent(Model, ABC):
    """A model whose latents are standard normal noise `[N, latents]`, or are made of it."""

    latents: int

    def __init__(self, config: Config, spec: Spec, likelihood: Likelihood) -> None:
        super().__init__(config, spec)
        self.likelihood = likelihood

    @property
    def sees(self) -> str | None:
        """Bits, where the likelihood is of bits."""
        return DRAWN if self.likelihood.bits else None

    @abstractmethod
    def output(self, z: Tensor) -> Tensor:
        """What the decoder says of latents `[N, latents]` of the prior: `[N, ...]`, the likelihood's parameters."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Latents `[N, latents]` of data `[N, ...]` in [−1, 1], or of vectors."""

    def decode(self, z: Tensor) -> Tensor:
        """The means of p(x|z) for latents `[N, latents]` of the prior; differentiable in them."""
        with decoding(self, z):
            return in_batches(lambda rows: self.likelihood.mean(self.output(rows)), z.to(self.device))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Data `[N, ...]` in [−1, 1], encoded and decoded."""
        return self.decode(self.encode(x))

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Means of p(x|z) at z from the prior, as images `[n, C, H, W]` in [−1, 1] or vectors; with a Gaussian
        likelihood nothing bounds them."""
        return self.decode(self.prior(n, seed=seed, start=start))

    def prior(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Latents `[n, latents]` of samples start … start+n−1, from N(0, I)."""
        return randomness.sample_normal(n, self.latents, seed=seed, start=start)

    def truncated(self, n: int, threshold: float, *, seed: int = 0, start: int = 0) -> Tensor:
        """Like `sample`, of latents whose every number is within ±`threshold`. Raises UserError where that is not above
        zero."""
        z = randomness.sample_normal(n, self.latents, seed=seed, start=start, truncation=threshold)
        return self.decode(z)

    def likelihood_of(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Callable[[Tensor], Tensor]:
        """For data rows start … start+N−1, the function from latents `[N, C, latents]` to log p(x|z) `[N, C]`,
        differentiable in them, in nats, of the same bits as `log_prob`'s. Nothing of the model moves meanwhile."""
        observed = self._observed_once(x, seed, start)

        def of(z: Tensor) -> Tensor:
            with decoding(self, z):
                again = observed.repeat_interleave(z.shape[1], 0)
                return -self.likelihood.loss(self.output(z.flatten(0, 1)), again).view(z.shape[:2])

        return of

    def observed(self, x: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
        """What the likelihood is of: x itself, or bits that are one with the pixel's brightness as probability."""
        return self.likelihood.observed(x, uniform)

    def _admitted(self, x: Tensor) -> Tensor:
        """Data as it is given to a verb, `taken`. Raises UserError for brightness outside [−1, 1]."""
        return self.taken(self.likelihood.admitted(x))

    def _observed_once(self, x: Tensor, seed: int, start: int) -> Tensor:
        """What the likelihood is of, bits being a function of (seed, row). Raises UserError for brightness outside [−1,
        1]."""
        shape = tuple(x.shape[1:])
        uniform = partial(randomness.sample_uniform, len(x), *shape, seed=seed, start=start, draw=0)
        return self.observed(self._admitted(x), lambda: uniform().to(self.device))

    def _noise(self, n: int, k: int, seed: int, start: int) -> Tensor:
        """ε `[n, latents]` of the k-th z of data rows start … start+n−1."""
        return randomness.sample_normal(n, self.latents, seed=seed, start=start, draw=1 + k).to(self.device)
