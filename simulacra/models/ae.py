"""Autoencoder (Rumelhart, Hinton & Williams 1986; Hinton & Salakhutdinov 2006): a code, and no law of codes."""

from abc import ABC

from torch import Tensor

from simulacra.buffers import evaluating
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model, decoding, in_batches
from simulacra.models.coders import CoderConfig, Likelihood, coders


class Coding(Model, ABC):
    """An encoder x ↦ z and a decoder z ↦ x̂, and what both can do without a law of codes."""

    def __init__(self, config: CoderConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.encoder, self.decoder = coders(config, spec, config.latent)
        self.likelihood = Likelihood(config.likelihood, config.sigma)

    def encode(self, x: Tensor) -> Tensor:
        """Codes `[N, J]` of data `[N, ...]` in [−1, 1], or of vectors. Raises UserError for brightness outside that."""
        with evaluating(self):
            return in_batches(lambda rows: self.encoder(self.likelihood.unit(rows)), self._admitted(x))

    def decode(self, z: Tensor) -> Tensor:
        """Data `[N, ...]` of codes `[N, J]`, on the scale of the data spec; differentiable in them."""
        with decoding(self, z):
            return in_batches(lambda codes: self.likelihood.mean(self.decoder(codes)), z.to(self.device))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Data `[N, ...]` encoded and decoded."""
        return self.decode(self.encode(x))

    def _admitted(self, x: Tensor) -> Tensor:
        return self.taken(self.likelihood.admitted(x))


class AEConfig(CoderConfig):
    """What an autoencoder is made of."""


class AE(Coding):
    """Descends the reconstruction error alone. It has no `sample`: nothing says which codes are likely."""

    name, Config = "ae", AEConfig
    config: AEConfig

    def cost(self, batch: Rows, at: At) -> Terms:
        """−log p(x|z) `[N]` in nats at the code z of x: the cross-entropy of brightnesses, or ‖x − x̂‖²/2σ² and a
        constant."""
        x = self.likelihood.unit(batch.x)
        return {"reconstruction": self.likelihood.loss(self.decoder(self.encoder(x)), x)}
