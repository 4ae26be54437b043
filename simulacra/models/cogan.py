"""Coupled GAN (Liu & Tuzel 2016): pairs of images of two domains, learned without a single pair; and a classifier for
the second domain from labels of the first (unsupervised domain adaptation).

Generators and discriminators remain: the classifier is part of the latter.
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from simulacra.buffers import evaluating
from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import decoding, in_batches
from simulacra.models.batches import beside_of, labels_of
from simulacra.models.gan import GAN, GANConfig
from simulacra.networks.coupled import CoupledDiscriminator, CoupledGenerator
from simulacra.precision import widen


class CoGANConfig(GANConfig):
    """What generators and discriminators are made of."""

    classes: int = Field(default=10, ge=2, description="K, number of classes of the first domain, and of the second")


class CoGAN(GAN):
    """Generators (g₁, g₂): z ↦ (x₁, x₂), and discriminators with a classifier. `sample`, `decode` and all that follows
    from them are of the first domain; `classify` is of the second."""

    name, Config = "cogan", CoGANConfig
    config: CoGANConfig

    def __init__(self, config: CoGANConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.discriminator = CoupledDiscriminator(spec.image_shape, config.classes)

    def _build(self, config: GANConfig, spec: Spec) -> nn.Module:
        return CoupledGenerator(config.latent, spec.image_shape, config.width)

    def synthesise(self, latents: Tensor) -> Tensor:
        """g₁ of latents."""
        return self.generator(latents)[0]

    def generate_pair(self, at: At) -> tuple[Tensor, Tensor]:
        """(g₁(z), g₂(z)) for one fresh z per row of the batch."""
        return self.generator(self._noise(at))

    def pairs(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Pairs `[n, 2, C, H, W]` in [−1, 1] of the z of samples start … start+n−1; the first of each is the sample."""
        z = self.prior(n, seed=seed, start=start)
        with decoding(self, z):
            return in_batches(lambda rows: torch.stack(self.generator(rows), 1), z.to(self.device))

    def classify(self, x: Tensor) -> Tensor:
        """Logits `[N, K]` of images of the SECOND domain, none of whose labels was ever seen."""
        return self._classify(x, 1)

    def classify_first(self, x: Tensor) -> Tensor:
        """Logits `[N, K]` of images of the first domain, whose labels the classifier has learned from."""
        return self._classify(x, 0)

    def _classify(self, x: Tensor, domain: int) -> Tensor:
        with evaluating(self):
            return in_batches(lambda rows: self.discriminator.classify(rows, domain), self.taken(x), 1000)


class CoupledAdversary:
    """The costs of the coupled game (§3): each discriminator tells real from generated images of its domain, each
    generator the opposite, both games summed; generators by −log f(g(z)) (Goodfellow et al. 2014, §3).

    `weight`: of −log p(y|x) on the first domain (§5), in the discriminators' move. `agreement`: of the squared distance
    between what the discriminators make, in their last hidden layer, of the two images of one z. The paper does not
    name that term; the authors' published code has it, in the discriminators' move alone.
    """

    def __init__(self, model: CoGAN, weight: float, agreement: float) -> None:
        self.model, self.weight, self.agreement = model, weight, agreement
        self.objective = OBJECTIVES["non-saturating"]

    def discriminate(self, batch: Rows, at: At) -> Terms:
        """The discriminators' cost on images of both domains, and the classifier's on those of the first."""
        critic, n = self.model.discriminator, len(batch.x)
        ours, theirs = self.model.generate_pair(at)
        first, second = torch.cat([batch.x, ours]), torch.cat([beside_of(batch).x, theirs])
        hidden = critic.hidden(first, second)
        real_1, fake_1, real_2, fake_2 = widen(critic.score(hidden)).split(n)
        terms = dict(self._classified(widen(critic.classes(hidden[:n])), batch, at))
        for number, (real, fake) in enumerate(((real_1, fake_1), (real_2, fake_2)), 1):
            at.watch(f"D{number}(x)", real.sigmoid())
            at.watch(f"D{number}(G(z))", fake.sigmoid())
            terms |= {f"{name}{number}": term for name, term in self.objective.discriminator(real, fake).items()}
        if self.agreement:
            apart = widen(hidden[n : 2 * n] - hidden[3 * n :])
            terms["agreement"] = self.agreement * apart.square().sum(1)
        return terms

    def generate(self, batch: Rows, at: At) -> Terms:
        """The generators' cost on fresh noise."""
        fakes = widen(self.model.discriminator(*self.model.generate_pair(at))).split(len(batch.x))
        return {f"fool{number}": self.objective.generator(fake)["fool"] for number, fake in enumerate(fakes, 1)}

    def learn(self, batch: Rows, at: At) -> Terms:
        """The classifier's cost alone."""
        return self._classified(widen(self.model.discriminator.classify(batch.x, 0)), batch, at)

    def _classified(self, logits: Tensor, batch: Rows, at: At) -> Terms:
        """−log p(y|x) of the first domain's labels; the second's are never asked for."""
        labels = labels_of(batch)
        at.watch("accuracy", (logits.argmax(1) == labels).float())
        return {"labels": self.weight * cross_entropy(logits, labels, reduction="none")}
