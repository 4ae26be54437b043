"""Variational autoencoder with a learned similarity (Larsen, Sønderby, Larochelle & Winther 2016, "Autoencoding beyond
pixels using a learned similarity metric", §2.3 and Algorithm 1): how well a picture is reconstructed is judged by what
a discriminator sees in it, not pixel by pixel."""

from typing import Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from simulacra.buffers import evaluating
from simulacra.costs.adversarial import Objective
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import in_batches
from simulacra.models.gan import GAN, GANConfig
from simulacra.models.posterior import Posterior
from simulacra.networks.activations import ACTIVATIONS
from simulacra.networks.dcgan import Downsampler, initialise
from simulacra.networks.features import features
from simulacra.networks.mlp import MLP
from simulacra.precision import widen


class VAEGANConfig(GANConfig):
    """What decoder and encoder are made of: the options are the decoder's, and the encoder mirrors it."""

    network: Literal["mlp", "dcgan"] = Field(default="mlp", description="perceptrons, or convolutions")
    prior: Literal["normal"] = Field(default="normal", description="p(z): N(0, 1)")


class VAEGAN(GAN):
    """A decoder, which is the generator of a GAN, p(z) = N(0, I), and an encoder q(z|x) = N(μ(x), diag σ²(x)).

    It has no `log_prob`: the likelihood that it descends is of the features of a discriminator that moves meanwhile.
    Batch norm's statistics are re-estimated over draws of the prior, as a GAN's, though the decoder has seen codes of
    data as well: reconstructions are a little worse by that, samples are what is drawn."""

    name, Config = "vaegan", VAEGANConfig
    config: VAEGANConfig

    def __init__(self, config: VAEGANConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.encoder = encoder_of(config, spec)

    def posterior(self, x: Tensor) -> Posterior:
        """q(z|x) of data `[N, ...]` in [−1, 1], or of vectors."""
        return Posterior(*widen(self.encoder(x)).chunk(2, dim=1))

    def encode(self, x: Tensor) -> Tensor:
        """The posterior's means `[N, J]`."""
        with evaluating(self):
            return in_batches(lambda rows: self.posterior(rows).mean, self.taken(x))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Data `[N, ...]`, encoded and decoded."""
        return self.decode(self.encode(x))


def encoder_of(config: GANConfig, spec: Spec) -> nn.Module:
    """A network without batch norm from rows to mean and log σ² of the generator's latents, `[N, 2J]`."""
    numbers = 2 * config.latent
    if config.network == "mlp":
        return MLP(spec.shape, (numbers,), config.width, config.depth, ACTIVATIONS["leaky"])
    network = Downsampler(spec.image_shape, numbers, config.width, batch_norm=False)
    initialise(network)
    return network


class Seen(NamedTuple):
    """What all three players pay for: KL(q(z|x) ‖ p(z)) and −log p(Dis_l(x)|z) of each row in nats, and the
    discriminator's scores of the rows, of their reconstructions, and of decoded draws from the prior: all `[N]`."""

    kl: Tensor
    dissimilarity: Tensor
    real: Tensor
    reconstructed: Tensor
    drawn: Tensor


class SimilarityGame:
    """Algorithm 1: one forward pass, and a cost for each of three players.

    Dis_l(x), the features, are what enters the discriminator's last linear layer, and p(Dis_l(x)|z) is N(Dis_l(x̃), I),
    its constant left out. `similarity`: γ, the weight of that likelihood in the decoder's cost. The paper trains the
    decoder by the minimax cost; `objective` is a choice here.
    """

    def __init__(self, model: VAEGAN, discriminator: nn.Module, objective: Objective, similarity: float) -> None:
        self.model, self.discriminator, self.objective, self.gamma = model, discriminator, objective, similarity

    def forward(self, batch: Rows, at: At) -> Seen:
        """x̃ = Dec(z) with z ~ q(z|x), x_p = Dec(z_p) with z_p ~ p(z), and what the discriminator makes of x, x̃, x_p."""
        latent = self.model.config.latent
        posterior = self.model.posterior(batch.x)
        again = self.model.synthesise(posterior.at(at.normal(latent)))
        fresh = self.model.synthesise(at.normal(latent))
        real, made = features(self.discriminator, batch.x), features(self.discriminator, again)
        apart = widen(real.features) - widen(made.features)
        drawn = widen(self.discriminator(fresh)).flatten()
        scores = widen(real.score).flatten(), widen(made.score).flatten()
        for name, score in (("D(x)", scores[0]), ("D(x~)", scores[1]), ("D(G(z))", drawn)):
            at.watch(name, score.sigmoid() if self.objective.probability else score)
        return Seen(posterior.kl(), 0.5 * apart.square().flatten(1).sum(1), *scores, drawn)

    def encode(self, seen: Seen, at: At) -> Terms:
        """The encoder's: L_prior + L_llike."""
        return {"kl": seen.kl, "dissimilarity": seen.dissimilarity}

    def decode(self, seen: Seen, at: At) -> Terms:
        """The decoder's: γ L_llike, and what fools the discriminator."""
        again, fresh = (self.objective.generator(score)["fool"] for score in (seen.reconstructed, seen.drawn))
        return {"dissimilarity": self.gamma * seen.dissimilarity, "fool_again": again, "fool_fresh": fresh}

    def discriminate(self, seen: Seen, at: At) -> Terms:
        """The discriminator's: L_GAN as a cross-entropy, of which reconstructions and draws are the fakes."""
        again = self.objective.discriminator(seen.real, seen.reconstructed)
        fresh = self.objective.discriminator(seen.real, seen.drawn)
        return {"real": again["real"], "again": again["fake"], "fresh": fresh["fake"]}
