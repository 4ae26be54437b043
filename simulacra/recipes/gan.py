"""Generative adversarial networks: of perceptrons (*gan*), strided convolutions (*dcgan*) and residual blocks
(*sngan*)."""

from typing import Literal

from pydantic import Field

from simulacra.config import Shares
from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.discriminator import DiscriminatorConfig
from simulacra.models.gan import GANConfig
from simulacra.networks.activations import Activation
from simulacra.optimizers import Adam, Schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.two_players import ObjectiveName, TwoPlayerOptions, two_players


class GANOptions(TwoPlayerOptions):
    """Options of the recipe `gan`."""

    latent: int = Field(default=64, ge=1, description="dimensions of the latent z")
    width: int = Field(default=256, ge=1, description="units of a hidden layer")
    depth: int = Field(default=2, ge=1, le=100, description="hidden layers")
    activation: Activation = Field(default="leaky", description="nonlinearity of both players")
    generator_norm: Literal["batch", "virtual", "none"] = Field(
        default="none", description="normalisation in the generator"
    )
    discriminator_width: int | None = Field(
        default=None, ge=1, description="units of its hidden layers (default: width)"
    )
    discriminator_depth: int | None = Field(
        default=None, ge=1, le=100, description="its hidden layers (default: depth)"
    )
    maxout: int = Field(
        default=0, ge=0, le=100, description="linear pieces of the discriminator's maxout units; 0 for none"
    )
    dropout: Shares = Field(
        default=(),
        description="shares of their inputs that the discriminator's layers lose while it learns, pixels going black "
        "(paper: 0.2,0.5,0.5)",
    )


class DCGANOptions(TwoPlayerOptions):
    """Options of the recipe `dcgan`."""

    latent: int = Field(default=100, ge=1, description="dimensions of the latent z")
    width: int = Field(default=64, ge=1, description="channels next to the image, doubled at each halving")
    activation: Literal["relu", "tanh"] = Field(
        default="relu", description="nonlinearity of both players; relu is leaky in the discriminator"
    )
    generator_norm: Literal["batch", "virtual", "none"] = Field(
        default="batch", description="normalisation in the generator"
    )
    discriminator_norm: Literal["batch", "none"] = Field(
        default="batch", description="normalisation in the discriminator; a gradient penalty wants none"
    )
    constant: bool = Field(default=False, description="equally many channels in all layers of the generator")
    generator_network: Literal["dcgan", "mlp"] = Field(
        default="dcgan",
        description="the generator: transposed convolutions, or 4 layers of 512 units (WGAN-GP's has no norm)",
    )


class SNGANOptions(TwoPlayerOptions):
    """Options of the recipe `sngan`: the paper's settings of the game, at a width that two cores can train."""

    objective: ObjectiveName = Field(default="hinge", description=f"what both descend: {', '.join(OBJECTIVES)}")
    generator: Adam = Adam(lr=2e-4, betas=(0.0, 0.9))
    discriminator: Adam = Adam(lr=2e-4, betas=(0.0, 0.9))
    discriminator_steps: int = Field(default=5, ge=1, description="k, discriminator steps per generator step")
    spectral: bool = Field(default=True, description="spectral normalisation of the discriminator's layers")
    schedule: Schedule = Field(default="linear", description="how the learning rates fall over the horizon")

    latent: int = Field(default=128, ge=1, description="dimensions of the latent z")
    width: int = Field(
        default=64, ge=1, description="channels of the generator, twice the discriminator's; the paper's is 256"
    )


@recipe(
    "gan",
    family="adversarial",
    rows=["C1"],
    data="mnist",
    paper="Goodfellow et al. 2014, Generative Adversarial Nets, arXiv:1406.2661",
    options=GANOptions,
)
def gan(spec: Spec, size: int, options: GANOptions) -> Plan:
    """Generator and discriminator of perceptrons, taking turns.

    command   simulacra train gan --data mnist
    paper     --width 1200 --activation relu --discriminator-width 240 --maxout 5 --dropout 0.2,0.5,0.5 --latent 100
              --prior uniform --batch 100 has its layers and dropout, and Adam in the place of momentum
    budget    40 passes over the data, 4 000 to 40 000 steps: about a minute on digits
    score     the paper's layers, --schedule linear, 50 000 images of MNIST, 50 000 steps: FID 3.2 in the features
              of `mnist`, Parzen windows 186.3 ± 2.2 nats, after 70 minutes on one CPU core (docs/results.md)
    """
    generator = options.part(GANConfig, network="mlp", norm=options.generator_norm)
    critic = options.part(
        DiscriminatorConfig,
        network="mlp",
        width=options.discriminator_width or options.width,
        depth=options.discriminator_depth or options.depth,
    )
    return two_players(spec, options, generator, critic, steps=budget(40, size, options.batch, within=(4000, 40_000)))


@recipe(
    "dcgan",
    family="adversarial",
    rows=["C1"],
    data="mnist",
    paper="Radford, Metz & Chintala 2016, Unsupervised Representation Learning with DCGANs, arXiv:1511.06434",
    options=DCGANOptions,
)
def dcgan(spec: Spec, size: int, options: DCGANOptions) -> Plan:
    """Generator of transposed convolutions, discriminator of strided ones, both with batch norm, taking turns.

    command   simulacra train dcgan --data mnist
    budget    14 passes over the data, 4 000 to 20 000 steps: under a minute on digits, 13 minutes on MNIST (2 cores)
    score     MNIST, 13 125 steps: a classifier finds 2.30 nats of entropy over the ten digits (docs/results.md)
    """
    if spec.kind != "image":
        raise UserError("dcgan is for images, the data is vectors: use gan")
    steps = budget(14, size, options.batch, within=(4000, 20_000))
    activation = "tanh" if options.activation == "tanh" else "leaky"
    norm = options.discriminator_norm
    critic = options.part(DiscriminatorConfig, network="dcgan", norm=norm, activation=activation)
    return two_players(spec, options, _dcgan_generator(options), critic, steps)


def _dcgan_generator(options: DCGANOptions) -> GANConfig:
    """Transposed convolutions; or the perceptrons of WGAN-GP's comparison (Gulrajani et al. 2017, figure 2)."""
    if options.generator_network == "dcgan":
        return options.part(GANConfig, network="dcgan", norm=options.generator_norm)
    if options.constant:
        raise UserError("constant is of the channels of convolutions: leave it out with --generator-network mlp")
    return options.part(GANConfig, network="mlp", width=512, depth=4, norm=options.generator_norm)


@recipe(
    "sngan",
    family="adversarial",
    rows=["C2"],
    data="cifar10",
    paper="Miyato et al. 2018, Spectral Normalization for Generative Adversarial Networks, arXiv:1802.05957",
    options=SNGANOptions,
)
def sngan(spec: Spec, size: int, options: SNGANOptions) -> Plan:
    """Generator and spectrally normalised discriminator of residual blocks, five steps of one to each of the other.

    command   simulacra train sngan --data cifar10
    paper     --width 256 has its channels, 256 and 128; it wants a GPU
    budget    40 passes over the data, 2 000 to 10 000 steps: 3 minutes on digits, about an hour on CIFAR-10 (bf16)
    score     none measured yet
    """
    if spec.kind != "image":
        raise UserError("sngan is for images, the data is vectors: use gan")
    steps = budget(40, size, options.batch * options.discriminator_steps, within=(2000, 10_000))
    generator = options.part(GANConfig, network="residual")
    critic = options.part(DiscriminatorConfig, network="residual", width=max(options.width // 2, 1))
    return two_players(spec, options, generator, critic, steps)
