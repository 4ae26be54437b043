"""Generative adversarial network (Goodfellow et al. 2014), with perceptrons or with DCGAN's convolutions.

Afterwards only the generator remains; the discriminator belongs to the training.
"""

from collections.abc import Iterator
from math import inf
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.config import Config
from simulacra.costs.adversarial import Objective
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model, in_batches
from simulacra.networks.dcgan import Downsampler, Upsampler, initialise
from simulacra.networks.mlp import MLP
from simulacra.penalties.gradient import r1
from simulacra.precision import widen


class GANConfig(Config):
    """What a generator is made of."""

    network: Literal["mlp", "dcgan"] = Field("mlp", description="perceptrons or transposed convolutions")
    latent: int = Field(64, ge=1, description="dimensions of the latent z")
    prior: Literal["normal", "uniform"] = Field("normal", description="p(z): N(0, 1) or uniform on [-1, 1]")
    width: int = Field(256, ge=1, description="units of a hidden layer (mlp), channels next to the image (dcgan)")
    depth: int = Field(2, ge=1, le=100, description="hidden layers of the mlp")


class GAN(Model):
    """A generator G: z ↦ x."""

    name, Config = "gan", GANConfig
    config: GANConfig

    def __init__(self, config: GANConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        final = nn.Tanh if spec.kind == "image" else nn.Identity
        if config.network == "mlp":
            self.generator = MLP((config.latent,), spec.shape, config.width, config.depth, _leaky, final)
        else:
            self.generator = Upsampler(config.latent, spec.image_shape, config.width, final=final)
            initialise(self.generator)

    def generate(self, at: At) -> Tensor:
        """G(z) for one fresh z per row of the batch."""
        if self.config.prior == "uniform":
            return self.generator(2.0 * at.uniform(self.config.latent) - 1.0)
        return self.generator(at.normal(self.config.latent))

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Images `[n, C, H, W]` in [−1, 1] or vectors `[n, D]`, at z from the prior."""
        return self.decode(self.prior(n, seed=seed, start=start))

    def decode(self, z: Tensor) -> Tensor:
        """G(z) for latents `[N, J]`."""
        with evaluating(self):
            return in_batches(self.generator, z.to(self.device))

    def prior(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """z `[n, J]` of samples start … start+n−1."""
        return self._latents(n, inf, seed, start)

    def truncated(self, n: int, threshold: float, *, seed: int = 0, start: int = 0) -> Tensor:
        """Like `sample`, of z from the prior conditioned on every number being within ±`threshold` (Brock et al. 2019,
        §3.1). Raises UserError where that is not above zero."""
        return self.decode(self._latents(n, threshold, seed, start))

    def _latents(self, n: int, threshold: float, seed: int, start: int) -> Tensor:
        if self.config.prior == "uniform":
            bound = min(randomness.positive(threshold), 1.0)
            return bound * (2.0 * randomness.sample_uniform(n, self.config.latent, seed=seed, start=start) - 1.0)
        return randomness.sample_normal(n, self.config.latent, seed=seed, start=start, truncation=threshold)

    def training_passes(self, seed: int) -> Iterator[None]:
        """Generate 20 batches of 100 from latents of their own."""
        for k in range(20):
            self.generator(self.prior(100, seed=randomness.key_of(seed, 1), start=100 * k).to(self.device))
            yield


class Adversary:
    """The costs of the two-player game between `model`'s generator and `discriminator` under `objective`."""

    def __init__(self, model: GAN, discriminator: nn.Module, objective: Objective, gamma: float = 0.0) -> None:
        self.model, self.discriminator, self.objective, self.gamma = model, discriminator, objective, gamma

    def discriminate(self, batch: Rows, at: At) -> Terms:
        """D's cost on real and generated images (Algorithm 1, inner loop)."""
        real, fake = self._scores(batch.x), self._scores(self.model.generate(at))
        at.watch("D(x)", real.sigmoid())
        at.watch("D(G(z))", fake.sigmoid())
        return self.objective.discriminator(real, fake)

    def generate(self, batch: Rows, at: At) -> Terms:
        """G's cost on fresh noise (Algorithm 1, last lines)."""
        return self.objective.generator(self._scores(self.model.generate(at)))

    def _scores(self, x: Tensor) -> Tensor:
        return widen(self.discriminator(x))

    def penalise(self, batch: Rows, at: At) -> Terms:
        """R1 on real images."""
        return {"r1": r1(self.discriminator, batch.x, self.gamma)}


def discriminator(config: GANConfig, spec: Spec) -> nn.Module:
    """The discriminator that mirrors the generator of `config`: scores `[N, 1]`."""
    if config.network == "mlp":
        return MLP(spec.shape, (1,), config.width, config.depth, _leaky)
    network = Downsampler(spec.image_shape, 1, config.width)
    initialise(network)
    return network


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)
