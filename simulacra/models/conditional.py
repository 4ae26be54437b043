"""Class-conditional generative adversarial networks: a label beside the input (Mirza & Osindero 2014, "cGAN"), with an
auxiliary classifier (Odena, Olah & Shlens 2017, "AC-GAN"), or in batch norm and in a projection (Miyato & Koyama 2018).
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from simulacra import randomness
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.adversary import Adversary
from simulacra.models.batches import labels_of, require_classes
from simulacra.models.gan import GAN, GANConfig, generator_of
from simulacra.networks.conditional import Auxiliary, Conditioned, Given
from simulacra.precision import widen


class ConditionalGANConfig(GANConfig):
    """What a generator of classes is made of."""

    classes: int = Field(default=10, ge=1, description="K, number of classes")
    conditioning: Literal["input", "norm"] = Field(
        default="input", description="where the class goes in: one-hot beside z, or into every batch norm"
    )


class ConditionalGAN(GAN):
    """A generator G: (z, y) ↦ x. Its latents are [z, y], y one-hot: `[N, J + K]`; between classes, shares of them."""

    name, Config = "conditional-gan", ConditionalGANConfig
    config: ConditionalGANConfig

    def _build(self, config: GANConfig, spec: Spec) -> nn.Module:
        assert isinstance(config, ConditionalGANConfig)
        if config.conditioning == "norm":
            return Conditioned(generator_of(config, spec, self._reference), config.classes)
        told = config.model_copy(update={"latent": config.latent + config.classes})
        return generator_of(told, spec, self._reference)

    def synthesise(self, latents: Tensor) -> Tensor:
        """G of latents [z, y]."""
        if self.config.conditioning == "input":
            return self.generator(latents)
        z, y = latents.split([self.config.latent, self.config.classes], 1)
        return self.generator(z, y)

    def generate_labelled(self, at: At, labels: Tensor) -> Tensor:
        """G(z, y) for one fresh z per row of the batch, of these labels."""
        return self.synthesise(self._with(self._noise(at), labels))

    def labels(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """The classes int64 `[n]` of samples start … start+n−1, each as likely as any other."""
        u = randomness.sample_uniform(n, 1, seed=randomness.key_of(seed, 2), start=start)[:, 0]
        return (u * self.config.classes).long()

    def sample_labelled(self, labels: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """Samples of the classes int64 `[n]`, at the z of samples start … start+n−1. Raises UserError for a class that
        is not there."""
        return self.decode(self.prior_labelled(labels, seed=seed, start=start))

    def prior_labelled(self, labels: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """Latents [z, y] `[n, J + K]` of the classes int64 `[n]`, at the z of samples start … start+n−1. Raises
        UserError for a class that is not there."""
        require_classes(labels, self.config.classes)
        return self._with(super()._latents(len(labels), torch.inf, seed, start), labels)

    def _latents(self, n: int, threshold: float, seed: int, start: int) -> Tensor:
        return self._with(super()._latents(n, threshold, seed, start), self.labels(n, seed=seed, start=start))

    def _with(self, z: Tensor, labels: Tensor) -> Tensor:
        return torch.cat([z, one_hot(labels.to(z.device), self.config.classes).to(z.dtype)], 1)


class ConditionalAdversary(Adversary):
    """The game given labels: V(D, G) with D(x|y) and G(z|y) (Mirza & Osindero 2014, eq. 2). Generated rows have the
    labels of the batch's rows."""

    model: ConditionalGAN

    def made(self, batch: Rows, at: At) -> Tensor:
        """G(z, y) of the batch's labels."""
        return self.model.generate_labelled(at, labels_of(batch))

    def critic(self, batch: Rows) -> nn.Module:
        """D(·|y) of the batch's labels."""
        return Given(self.discriminator, labels_of(batch))


class AuxiliaryAdversary(ConditionalAdversary):
    """The game with a classifier: both players descend −log C(y|x), the discriminator on real and generated rows, the
    generator on its own (Odena, Olah & Shlens 2017, eqs. 2 and 3), `weight` times."""

    discriminator: Auxiliary

    def __init__(self, *parts: Any, weight: float = 1.0, **named: Any) -> None:
        super().__init__(*parts, **named)
        self.weight = weight

    def critic(self, batch: Rows) -> nn.Module:
        """D, which sees no label."""
        return self.discriminator

    def discriminate(self, batch: Rows, at: At) -> Terms:
        """D's cost, and the classifier's."""
        critic, x = self.discriminator, self.made(batch, at)
        seen, shown = self.sight(batch.x, at), self.sight(x, at)
        (real, real_class), (fake, fake_class) = critic.both(seen), critic.both(shown)
        terms = self._told(widen(real), widen(fake), batch, at) | self._penalties(critic, seen, shown, at)
        at.watch("C(x)", (real_class.argmax(1) == labels_of(batch)).float())
        return {
            **terms,
            "real_class": self._classify(real_class, labels_of(batch)),
            "fake_class": self._classify(fake_class, labels_of(batch)),
        }

    def generate(self, batch: Rows, at: At) -> Terms:
        """G's cost, and the classifier's of what it made."""
        fake, fake_class = self.discriminator.both(self.sight(self.made(batch, at), at))
        real = widen(self.discriminator(self.sight(batch.x, at))) if self.objective.paired else None
        return {
            **self._steered(self.objective.generator(widen(fake), real), at),
            "class": self._classify(fake_class, labels_of(batch)),
        }

    def _classify(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.weight * cross_entropy(widen(logits), labels, reduction="none")
