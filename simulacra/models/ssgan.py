"""Semi-supervised GAN (Salimans et al. 2016, §5): a classifier that learns from few labels, from rows without labels,
and from generated ones. Both it and the generator remain.
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from simulacra.buffers import evaluating
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.adversary import Adversary
from simulacra.models.base import in_batches
from simulacra.models.batches import beside_of, labels_of
from simulacra.models.gan import GAN, GANConfig
from simulacra.networks.noisy import NoisyMLP
from simulacra.precision import widen


class SSGANConfig(GANConfig):
    """What generator and classifier are made of."""

    classes: int = Field(default=10, ge=2, description="K, number of classes")
    hidden: tuple[int, ...] = Field(
        default=(1000, 500, 250, 250, 250), description="units of the classifier's hidden layers"
    )
    noise: tuple[float, float] = Field(
        default=(0.6, 0.5), description="deviation of the noise on its input, of values in [-1, 1], and on its layers"
    )


class SSGAN(GAN):
    """A generator, and a classifier of K classes."""

    name, Config = "ssgan", SSGANConfig
    config: SSGANConfig

    def __init__(self, config: SSGANConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.classifier = NoisyMLP(spec.shape, config.classes, config.hidden, config.noise)

    def classify(self, x: Tensor) -> Tensor:
        """Logits `[N, K]` of rows."""
        with evaluating(self):
            return in_batches(self.classifier, self.taken(x), 1000)


def realness(logits: Tensor) -> Tensor:
    """log Σ exp l_k `[N, 1]` of logits `[N, K]`: the logit of D(x) = Z/(Z + 1), class K + 1 being "generated" with its
    logit held at 0 (§5)."""
    return widen(logits).logsumexp(1, keepdim=True)


class Realness(nn.Module):
    """What a classifier's logits say of how real a row is."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Scores `[N, 1]`."""
        return realness(self.classifier(x))


class SemiSupervisedAdversary(Adversary):
    """D descends L_unsupervised, the cost of the plain game, and L_supervised = −log p(y|x, y ≤ K) on the labelled rows
    beside the batch (§5). It is shown plain rows, and pays no penalties."""

    model: SSGAN

    def discriminate(self, batch: Rows, at: At) -> Terms:
        """The plain game's cost, and that of the labels; rows of all three kinds pass together."""
        beside = beside_of(batch)
        kinds = batch.x, self.made(batch, at), beside.x
        real, fake, labelled = self.model.classifier(torch.cat(kinds)).split([len(rows) for rows in kinds])
        return self._told(realness(real), realness(fake), batch, at) | self._labels(labelled, beside, at)

    def generate(self, batch: Rows, at: At) -> Terms:
        """The plain game's cost, or that of matching features."""
        with parametrize.cached():  # weights are normalised once, not for either kind of rows
            return super().generate(batch, at)

    def learn(self, batch: Rows, at: At) -> Terms:
        """The labels' cost alone."""
        beside = beside_of(batch)
        return self._labels(self.model.classifier(beside.x), beside, at)

    def _labels(self, logits: Tensor, beside: Rows, at: At) -> dict[str, Tensor]:
        logits, labels = widen(logits), labels_of(beside)
        at.watch("accuracy", (logits.argmax(1) == labels).float())
        return {"labels": cross_entropy(logits, labels, reduction="none")}
