"""Class-conditional GANs: *cgan*, *acgan* and *projection*."""

from typing import Literal, TypeVar

from pydantic import Field
from torch import nn

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.adversary import Adversary
from simulacra.models.conditional import (
    AuxiliaryAdversary,
    ConditionalAdversary,
    ConditionalGAN,
    ConditionalGANConfig,
)
from simulacra.models.discriminator import DiscriminatorConfig, discriminator
from simulacra.networks.conditional import Auxiliary, Beside, Projection
from simulacra.networks.spectral import spectrally_normalised
from simulacra.optimizers import Adam
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.two_players import ObjectiveName, TwoPlayerOptions, check, plan, rules_of, sight_of


class NetworkOptions(TwoPlayerOptions):
    """What networks chosen by the data can be told."""

    network: Literal["mlp", "dcgan"] | None = Field(
        default=None, description="perceptrons or convolutions (default: convolutions for images)"
    )
    latent: int = Field(default=100, ge=1, description="dimensions of the latent z")
    width: int | None = Field(
        default=None, ge=1, description="channels next to the image (dcgan: 64), units (mlp: 256)"
    )
    depth: int = Field(default=2, ge=1, le=100, description="hidden layers of the mlp")
    generator_norm: Literal["batch", "virtual", "none"] | None = Field(
        default=None, description="normalisation in the generator (default: batch in convolutions, none in perceptrons)"
    )
    discriminator_norm: Literal["batch", "none"] | None = Field(
        default=None,
        description="normalisation in the discriminator of convolutions (default: batch; perceptrons have none)",
    )


class ConditionalOptions(NetworkOptions):
    """Options of the recipe `cgan`, and what every class-conditional game can be told."""


class AuxiliaryOptions(ConditionalOptions):
    """Options of the recipe `acgan`."""

    class_weight: float = Field(default=1.0, gt=0, description="weight of the classifier's terms")


class ProjectionOptions(ConditionalOptions):
    """Options of the recipe `projection`: the paper's game, on DCGAN's networks."""

    objective: ObjectiveName = Field(default="hinge", description="what both descend: see `simulacra show gan`")
    generator: Adam = Adam(lr=2e-4, betas=(0.0, 0.9))
    discriminator: Adam = Adam(lr=2e-4, betas=(0.0, 0.9))
    spectral: bool = Field(default=True, description="spectral normalisation of the discriminator's layers")
    discriminator_norm: Literal["batch", "none"] | None = Field(
        default="none", description="normalisation in the discriminator of convolutions"
    )


@recipe(
    "cgan",
    family="conditional",
    rows=["D1"],
    data="mnist",
    paper="Mirza & Osindero 2014, Conditional Generative Adversarial Nets, arXiv:1411.1784",
    options=ConditionalOptions,
)
def cgan(spec: Spec, size: int, options: ConditionalOptions) -> Plan:
    """Both players are told the class: one-hot beside the latent, and beside the discriminator's input.

    command   simulacra train cgan --data mnist; then simulacra sample RUN --label 3
    budget    14 passes over the data, 4 000 to 20 000 steps
    score     0.992 of samples show the class asked for, FID 0.11 (features of `mnist`), MNIST, width 32, 13 125 steps:
              docs/results.md
    """
    classes, options = _classes(spec, "cgan", options), resolve(spec, options)
    beside = Spec(kind=spec.kind, shape=(spec.shape[0] + classes, *spec.shape[1:]), classes=None)
    critic = Beside(critic_of(beside, options), classes)
    model = ConditionalGAN(options.part(ConditionalGANConfig, classes=classes, norm=options.generator_norm), spec)
    return _plan(options, ConditionalAdversary(model, critic, **rules_of(options), sight=sight_of(options, spec)), size)


@recipe(
    "acgan",
    family="conditional",
    rows=["D2"],
    data="mnist",
    paper="Odena, Olah & Shlens 2017, Conditional Image Synthesis with Auxiliary Classifier GANs, arXiv:1610.09585",
    options=AuxiliaryOptions,
)
def acgan(spec: Spec, size: int, options: AuxiliaryOptions) -> Plan:
    """The generator is told the class; the discriminator has to find it, on real and on generated images.

    command   simulacra train acgan --data mnist; then simulacra sample RUN --label 3
    budget    14 passes over the data, 4 000 to 20 000 steps
    score     0.995 of samples show the class asked for, FID 0.12 (features of `mnist`), MNIST, width 32, 13 125 steps:
              docs/results.md
    """
    classes, options = _classes(spec, "acgan", options), resolve(spec, options)
    require_plain_turns(options, "acgan")
    sight = sight_of(options, spec)
    critic = whole(Auxiliary(critic_of(sight.spec(spec), options), classes), options)
    model = ConditionalGAN(options.part(ConditionalGANConfig, classes=classes, norm=options.generator_norm), spec)
    costs = AuxiliaryAdversary(model, critic, **rules_of(options), sight=sight, weight=options.class_weight)
    return _plan(options, costs, size)


@recipe(
    "projection",
    family="conditional",
    rows=["D2"],
    data="mnist",
    paper="Miyato & Koyama 2018, cGANs with Projection Discriminator, arXiv:1802.05637",
    options=ProjectionOptions,
)
def projection(spec: Spec, size: int, options: ProjectionOptions) -> Plan:
    """The class goes into the generator's batch norm, and into the discriminator's score as an inner product.

    command   simulacra train projection --data mnist; then simulacra sample RUN --label 3
    budget    14 passes over the data, 4 000 to 20 000 steps
    score     0.996 of samples show the class asked for, FID 0.15 (features of `mnist`), MNIST, width 32, 13 125 steps:
              docs/results.md
    """
    if options.generator_norm not in (None, "batch"):
        raise UserError(f"projection tells the class by batch norm, not {options.generator_norm}: leave out the latter")
    classes, options = _classes(spec, "projection", options), resolve(spec, options)
    critic = whole(Projection(critic_of(spec, options), classes), options)
    config = options.part(ConditionalGANConfig, classes=classes, conditioning="norm", norm="batch")
    model = ConditionalGAN(config, spec)
    return _plan(options, ConditionalAdversary(model, critic, **rules_of(options), sight=sight_of(options, spec)), size)


Options = TypeVar("Options", bound=NetworkOptions)


def resolve(spec: Spec, options: Options) -> Options:
    """The options with what they leave open settled by the data, and checked."""
    network = options.network or ("dcgan" if spec.kind == "image" else "mlp")
    if network == "dcgan" and spec.kind != "image":
        raise UserError("convolutions are for images, the data is vectors: give --network mlp")
    if network == "dcgan" and options.depth != NetworkOptions.model_fields["depth"].default:
        raise UserError("depth is of perceptrons, the networks here are dcgan: leave it out, or give --network mlp")
    if network == "mlp" and options.discriminator_norm == "batch":
        raise UserError("perceptrons that discriminate have no batch norm here: leave out --discriminator-norm")
    width = options.width or {"dcgan": 64, "mlp": 256}[network]
    norm = options.discriminator_norm or {"dcgan": "batch", "mlp": "none"}[network]
    settled = options.model_copy(update={"network": network, "width": width, "discriminator_norm": norm})
    check(settled, _critic_config(settled))
    return settled


def _classes(spec: Spec, name: str, options: ConditionalOptions) -> int:
    if options.pack > 1:
        raise UserError("packs of different classes have no class: leave out --pack")
    if not spec.classes:
        raise UserError(f"{name} needs classes, and the data has none: sort images into a folder per class")
    return len(spec.classes)


def require_plain_turns(options: TwoPlayerOptions, name: str) -> None:
    """Raises UserError for what a discriminator with a second task does not do."""
    if options.unrolled or options.rest_above or options.feature_matching:
        words = "leave out --unrolled, --rest-above and --feature-matching"
        raise UserError(f"the discriminator of {name} has a second task: {words}")


def _critic_config(options: NetworkOptions) -> DiscriminatorConfig:
    return options.part(DiscriminatorConfig, norm=options.discriminator_norm)


def critic_of(spec: Spec, options: NetworkOptions) -> nn.Module:
    """The discriminator of what the options say, for rows of `spec`."""
    return discriminator(_critic_config(options), spec)


def whole(critic: nn.Module, options: NetworkOptions) -> nn.Module:
    """The critic with its further layers normalised as the others are."""
    return spectrally_normalised(critic, options.power_iterations) if options.spectral else critic


def _plan(options: ConditionalOptions, costs: Adversary, size: int) -> Plan:
    return plan(options, costs, budget(14, size, options.batch, within=(4000, 20_000)))
