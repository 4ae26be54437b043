"""Generative adversarial network (Goodfellow et al. 2014), with perceptrons, DCGAN's convolutions or residual blocks.

Afterwards only the generator remains; the discriminator (`models.discriminator`) belongs to the training.
"""

from collections.abc import Callable, Iterator
from math import inf
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra import randomness
from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import At
from simulacra.models.base import Model, decoding, in_batches
from simulacra.networks.activations import ACTIVATIONS, Activation
from simulacra.networks.dcgan import Upsampler, initialise
from simulacra.networks.mlp import MLP
from simulacra.networks.residual import ResidualGenerator
from simulacra.networks.virtual import virtually_normalised


class GANConfig(Config):
    """What a generator is made of."""

    network: Literal["mlp", "dcgan", "residual"] = Field(
        default="mlp", description="perceptrons, transposed convolutions or residual blocks"
    )
    latent: int = Field(default=64, ge=1, description="dimensions of the latent z")
    prior: Literal["normal", "uniform"] = Field(default="normal", description="p(z): N(0, 1) or uniform on [-1, 1]")
    width: int = Field(
        default=256,
        ge=1,
        description="units of a hidden layer (mlp), channels next to the image (dcgan) or of all blocks",
    )
    depth: int = Field(default=2, ge=1, le=100, description="hidden layers of the mlp")
    norm: Literal["batch", "virtual", "none"] | None = Field(
        default=None, description="normalisation; null for the network's own: none in the mlp, batch norm elsewhere"
    )
    activation: Activation | None = Field(
        default=None, description="nonlinearity; null for the network's own: leaky in the mlp, relu elsewhere"
    )
    constant: bool = Field(default=False, description="equally many channels in all layers (dcgan)")
    dense: int = Field(
        default=0, ge=0, description="units of a layer between latent and convolutions (dcgan); 0 for none"
    )


class GAN(Model):
    """A generator G: z ↦ x."""

    name, Config = "gan", GANConfig
    config: GANConfig

    def __init__(self, config: GANConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.generator = self._build(config, spec)

    def _build(self, config: GANConfig, spec: Spec) -> nn.Module:
        return generator_of(config, spec, self._reference)

    def _reference(self) -> Tensor:
        """The latents that virtual batch norm refers to: 64 of the prior, the same for ever."""
        return self._latents(64, inf, seed=0, start=0).to(torch.get_default_dtype())

    def synthesise(self, latents: Tensor) -> Tensor:
        """G of latents, as training calls it."""
        return self.generator(latents)

    def generate(self, at: At) -> Tensor:
        """G(z) for one fresh z per row of the batch."""
        return self.synthesise(self._noise(at))

    def _noise(self, at: At) -> Tensor:
        if self.config.prior == "uniform":
            return 2.0 * at.uniform(self.config.latent) - 1.0
        return at.normal(self.config.latent)

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Images `[n, C, H, W]` in [−1, 1] or vectors `[n, D]`, at z from the prior."""
        return self.decode(self.prior(n, seed=seed, start=start))

    def decode(self, z: Tensor) -> Tensor:
        """G(z) for latents `[N, J]`; differentiable in them."""
        with decoding(self, z):
            return in_batches(self.synthesise, z.to(self.device))

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
            self.synthesise(self.prior(100, seed=randomness.key_of(seed, 1), start=100 * k).to(self.device))
            yield


def generator_of(config: GANConfig, spec: Spec, reference: Callable[[], Tensor]) -> nn.Module:
    """The network of `config`: latents `[N, J]` to rows of `spec`; virtual batch norm (Salimans et al. 2016, §3.5)
    refers to the latents of `reference`. Raises UserError for an option that it would ignore."""
    _check(config)
    network = _network(config, spec)
    return virtually_normalised(network, reference()) if config.norm == "virtual" else network


def _check(config: GANConfig) -> None:
    own = config.norm != "none" and config.activation in (None, "relu")
    if config.network == "residual" and not own:
        raise UserError("residual blocks have batch norm and relu: leave out norm and activation, or choose dcgan")
    for name in ("constant", "dense"):
        if config.network != "dcgan" and getattr(config, name):
            raise UserError(f"{name} is of dcgan's layers, the network is {config.network}: leave it out")


def _network(config: GANConfig, spec: Spec) -> nn.Module:
    final = nn.Tanh if spec.kind == "image" else nn.Identity
    if config.network == "mlp":
        activation = ACTIVATIONS[config.activation or "leaky"]
        norm, points = config.norm in ("batch", "virtual"), spec.kind == "vector"
        sizes = config.width, config.depth
        return MLP((config.latent,), spec.shape, *sizes, activation, final, batch_norm=norm, exact=points)
    if config.network == "residual":
        return ResidualGenerator(config.latent, spec.image_shape, config.width, final)
    activation = ACTIVATIONS[config.activation or "relu"]
    norm, more = config.norm != "none", {"constant": config.constant, "dense": config.dense}
    network = Upsampler(config.latent, spec.image_shape, config.width, norm, final, activation, **more)
    initialise(network)
    return network
