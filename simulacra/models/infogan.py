"""InfoGAN (Chen et al. 2016): a code that can be read off the samples again comes to mean something."""

import math
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from simulacra import randomness
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.adversary import Adversary
from simulacra.models.gan import GAN, GANConfig, generator_of
from simulacra.networks.conditional import Auxiliary
from simulacra.precision import widen


class InfoGANConfig(GANConfig):
    """What a generator of codes is made of."""

    categories: int = Field(default=10, ge=2, description="values of the categorical code")
    continuous: int = Field(default=2, ge=0, description="continuous codes, uniform on [-1, 1]")


class InfoGAN(GAN):
    """A generator G: (z, c) ↦ x. Its latents are [z, one-hot category, continuous codes]: `[N, J + K + L]`."""

    name, Config = "infogan", InfoGANConfig
    config: InfoGANConfig

    def _build(self, config: GANConfig, spec: Spec) -> nn.Module:
        assert isinstance(config, InfoGANConfig)
        latent = config.latent + config.categories + config.continuous
        return generator_of(config.model_copy(update={"latent": latent}), spec, self._reference)

    def coded(self, z: Tensor, category: Tensor, continuous: Tensor) -> Tensor:
        """Latents of noise `[N, J]`, categories int64 `[N]` and continuous codes `[N, L]`."""
        return torch.cat([z, one_hot(category.to(z.device), self.config.categories).to(z.dtype), continuous], 1)

    def drawn(self, at: At) -> tuple[Tensor, Tensor, Tensor]:
        """Fresh noise, categories and continuous codes, one of each per row of the batch."""
        z, u = self._noise(at), at.uniform(1 + self.config.continuous)
        return z, (u[:, 0] * self.config.categories).long(), 2.0 * u[:, 1:] - 1.0

    def _latents(self, n: int, threshold: float, seed: int, start: int) -> Tensor:
        z = super()._latents(n, threshold, seed, start)
        numbers, key = 1 + self.config.continuous, randomness.key_of(seed, 2)
        u = randomness.sample_uniform(n, numbers, seed=key, start=start)
        return self.coded(z, (u[:, 0] * self.config.categories).long(), 2.0 * u[:, 1:] - 1.0)


class InfoAdversary(Adversary):
    """min over G and Q, max over D, of V(D, G) − λ L_I(G, Q) (eq. 6); Q shares all of the discriminator but the head
    of its own (§6; appendix C), and is trained by both players.

    L_I is E log Q(c|x) + H(c) (eq. 5): a softmax for the category, weighed by `weight`; a Gaussian for each continuous
    code (§6), weighed by `continuous_weight`. Its `deviation` is 1 in the authors' published code on MNIST; None for
    one that Q says too, whose pull on the codes grows as it narrows.
    """

    model: InfoGAN
    discriminator: Auxiliary

    def __init__(
        self,
        *parts: Any,
        weight: float = 1.0,
        continuous_weight: float = 1.0,
        deviation: float | None = 1.0,
        **named: Any,
    ) -> None:
        super().__init__(*parts, **named)
        self.weight, self.continuous_weight, self.deviation = weight, continuous_weight, deviation

    def discriminate(self, batch: Rows, at: At) -> Terms:
        """D's cost, and Q's."""
        critic, codes = self.discriminator, self.model.drawn(at)
        seen = self.sight(batch.x, at)
        shown = self.sight(self.model.synthesise(self.model.coded(*codes)), at)
        fake, said = critic.both(shown)
        terms = self._told(widen(critic(seen)), widen(fake), batch, at) | self._penalties(critic, seen, shown, at)
        return terms | self._read(said, codes)

    def generate(self, batch: Rows, at: At) -> Terms:
        """G's cost, and that of the codes that cannot be read off its samples."""
        codes = self.model.drawn(at)
        fake, said = self.discriminator.both(self.sight(self.model.synthesise(self.model.coded(*codes)), at))
        real = widen(self.discriminator(self.sight(batch.x, at))) if self.objective.paired else None
        return self._steered(self.objective.generator(widen(fake), real), at) | self._read(said, codes)

    def made(self, batch: Rows, at: At) -> Tensor:
        """G(z, c) of fresh codes, for penalties."""
        return self.model.synthesise(self.model.coded(*self.model.drawn(at)))

    def _read(self, said: Tensor, codes: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """−log Q(c|x) of what Q says `[N, K + L]`, logits and means, or `[N, K + 2L]`, with log-variances."""
        _, category, continuous = codes
        categories, width = self.model.config.categories, continuous.shape[1]
        logits, mean, rest = widen(said).tensor_split((categories, categories + width), 1)
        terms = {"category": self.weight * cross_entropy(logits, category, reduction="none")}
        if width:
            sigma = self.deviation
            log_variance = rest.clamp(-8.0, 8.0) if sigma is None else torch.full_like(mean, 2.0 * math.log(sigma))
            squared = (continuous - mean).square() / log_variance.exp()
            nats = 0.5 * (squared + log_variance + math.log(2 * math.pi))
            terms["continuous"] = self.continuous_weight * nats.sum(1)
        return terms
