"""Generative adversarial networks: of perceptrons (*gan*), strided convolutions (*dcgan*) and residual blocks
(*sngan*)."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from torch import nn

from simulacra.config import Config
from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.spec import Spec
from simulacra.errors import UserError, unknown
from simulacra.game import Game, Move, Player, Round, Stage
from simulacra.models.gan import GAN, Adversary, GANConfig, Penalties, discriminator
from simulacra.optimizers import Adam, Schedule, schedule
from simulacra.recipes import Plan, recipe
from simulacra.rules import Rule, consensus, extragradient, half_squared_field, leave

log = logging.getLogger(__name__)


def _known_objective(name: str) -> str:
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    return name


class TwoPlayerOptions(Config):
    """What every game of a generator and a discriminator can be told."""

    objective: Annotated[str, AfterValidator(_known_objective)] = Field(
        "non-saturating", description=f"what both descend: {', '.join(OBJECTIVES)}"
    )
    prior: Literal["normal", "uniform"] = Field("normal", description="p(z): N(0, 1) or uniform on [-1, 1]")
    batch: int = Field(64, ge=1, description="images per step")
    generator: Adam = Adam(lr=2e-4, betas=(0.5, 0.999))
    discriminator: Adam = Adam(lr=2e-4, betas=(0.5, 0.999))
    discriminator_steps: int = Field(1, ge=1, description="k, discriminator steps per generator step")
    schedule: Schedule = Field("constant", description="how the learning rates fall over the horizon")
    average: float | None = Field(0.999, ge=0, lt=1, description="decay of the generator's average; null for none")
    clip: float = Field(0.0, ge=0, description="bound on the discriminator's weights (WGAN); 0 for none")
    spectral: bool = Field(False, description="spectral normalisation of the discriminator's layers")
    gradient_penalty: float = Field(0.0, ge=0, description="weight of the gradient penalty (WGAN-GP); 0 for none")
    one_sided: bool = Field(False, description="penalise only gradients above 1")
    dragan: float = Field(0.0, ge=0, description="weight of the penalty around real images (DRAGAN); 0 for none")
    dragan_spread: float = Field(1.0, gt=0, description="variance of DRAGAN's noise")
    orthogonal: float = Field(0.0, ge=0, description="weight of orthogonal regularisation of the discriminator")
    r1: float = Field(0.0, ge=0, description="weight of the R1 penalty on real images; 0 for none")
    r2: float = Field(0.0, ge=0, description="weight of the R2 penalty on generated images; 0 for none")
    r1_every: int = Field(16, ge=1, description="steps from one R1 or R2 penalty to the next (lazy regularisation)")
    unrolled: int = Field(0, ge=0, description="K, discriminator steps that the generator looks ahead; 0 for none")
    unrolled_rate: float = Field(0.1, gt=0, description="learning rate of those steps, plain descent")
    turns: Literal["alternating", "simultaneous"] = Field("alternating", description="who moves when")
    rule: Literal["none", "consensus", "extragradient", "half-squared-field"] = Field(
        "none", description="what simultaneous moves make of their gradients"
    )
    consensus: float = Field(10.0, ge=0, description="weight of half the squared field in the rule consensus")


class GANOptions(TwoPlayerOptions):
    """Options of the recipe `gan`."""

    latent: int = Field(64, ge=1, description="dimensions of the latent z")
    width: int = Field(256, ge=1, description="units of a hidden layer")
    depth: int = Field(2, ge=1, le=100, description="hidden layers")


class DCGANOptions(TwoPlayerOptions):
    """Options of the recipe `dcgan`."""

    discriminator_norm: Literal["batch", "none"] = Field(
        "batch", description="normalisation in the discriminator; a gradient penalty wants none"
    )

    latent: int = Field(100, ge=1, description="dimensions of the latent z")
    width: int = Field(64, ge=1, description="channels next to the image, doubled at each halving")


class SNGANOptions(TwoPlayerOptions):
    """Options of the recipe `sngan`: the paper's settings of the game, at a width that two cores can train."""

    objective: Annotated[str, AfterValidator(_known_objective)] = Field(
        "hinge", description=f"what both descend: {', '.join(OBJECTIVES)}"
    )
    generator: Adam = Adam(lr=2e-4, betas=(0.0, 0.9))
    discriminator: Adam = Adam(lr=2e-4, betas=(0.0, 0.9))
    discriminator_steps: int = Field(5, ge=1, description="k, discriminator steps per generator step")
    spectral: bool = Field(True, description="spectral normalisation of the discriminator's layers")

    latent: int = Field(128, ge=1, description="dimensions of the latent z")
    width: int = Field(64, ge=1, description="channels of the generator, twice the discriminator's; the paper's is 256")


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
    budget    40 passes over the data, 4 000 to 40 000 steps: about a minute on digits
    score     none measured yet
    """
    return two_players(spec, options, "mlp", steps=min(max(40 * size // options.batch, 4000), 40_000))


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
    steps = min(max(14 * size // options.batch, 4000), 20_000)
    return two_players(spec, options, "dcgan", steps, batch_norm=options.discriminator_norm == "batch")


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
    steps = min(max(40 * size // (options.batch * options.discriminator_steps), 2000), 10_000)
    return two_players(spec, options, "residual", steps)


def two_players(spec: Spec, options: TwoPlayerOptions, network: str, steps: int, *, batch_norm: bool = True) -> Plan:
    """The game of a generator and a discriminator: k steps of D, its lazy penalty if any, one step of G; or both at
    once, under a rule."""
    _check(options, batch_norm and network == "dcgan")
    model = GAN(options.part(GANConfig, network=network), spec)
    critic = discriminator(model.config, spec, batch_norm=batch_norm, spectral=options.spectral)
    rate = schedule(options.schedule)
    bound = partial(clipped, bound=options.clip) if options.clip else None
    players = [
        Player(name="discriminator", module=critic, optimizer=options.discriminator, rate=rate, projection=bound),
        Player(name="generator", module=model, optimizer=options.generator, rate=rate, average=options.average),
    ]
    rounds = _rounds(options, _adversary(options, model, critic))
    stage = Stage(name="train", game=Game(players, rounds), steps=steps)
    return Plan(model=model, stages=[stage], batch=options.batch, options=options)


def _rounds(options: TwoPlayerOptions, costs: Adversary) -> list[Round]:
    k, every = options.discriminator_steps, options.r1_every
    discriminate = Move(name="discriminate", players=["discriminator"], cost=costs.discriminate, times=k)
    penalise = Move(name="penalise", players=["discriminator"], cost=costs.penalise, every=every)
    generate = Move(name="generate", players=["generator"], cost=costs.generate)
    lazy = [penalise] if options.r1 or options.r2 else []
    if options.turns == "simultaneous":
        return [Round(discriminate, *lazy, generate, rule=RULES[options.rule](options))]
    return [Round(discriminate), *map(Round, lazy), Round(generate)]


RULES: dict[str, Callable[[TwoPlayerOptions], Rule]] = {
    "none": lambda options: leave,
    "consensus": lambda options: consensus(options.consensus),
    "extragradient": lambda options: extragradient,
    "half-squared-field": lambda options: half_squared_field,
}


def _adversary(options: TwoPlayerOptions, model: GAN, critic: nn.Module) -> Adversary:
    penalties = Penalties(
        gradient=options.gradient_penalty,
        one_sided=options.one_sided,
        dragan=options.dragan,
        spread=options.dragan_spread,
        orthogonal=options.orthogonal,
        r1=options.r1,
        r2=options.r2,
    )
    ahead = options.unrolled, options.unrolled_rate
    return Adversary(model, critic, OBJECTIVES[options.objective], penalties, ahead)


def clipped(module: nn.Module, bound: float) -> None:
    """Clamp every parameter to ±`bound` (Arjovsky, Chintala & Bottou 2017, Algorithm 1, line 7)."""
    for parameter in module.parameters():
        parameter.clamp_(-bound, bound)


def _check(options: TwoPlayerOptions, batch_norm: bool) -> None:
    """Refuse what cannot work together, warn of what will not work well; each by name."""
    if options.clip and options.spectral:
        raise UserError("clip bounds weights that spectral divides by their norm, so it would do nothing: choose one")
    if options.turns == "alternating" and options.rule != "none":
        raise UserError(f"rule {options.rule} is of simultaneous moves: give --turns simultaneous too")
    if options.turns == "simultaneous" and options.discriminator_steps > 1:
        raise UserError("simultaneous moves are one each: leave discriminator_steps at 1, or alternate")
    held = options.clip or options.spectral or options.gradient_penalty or options.dragan or options.r1 or options.r2
    if options.objective == "wasserstein" and not held:
        log.warning("wasserstein wants a constrained critic: --clip 0.01, --gradient-penalty 10 or --spectral true")
    if batch_norm and (options.gradient_penalty or options.dragan):
        log.warning("a gradient penalty is of single rows, batch norm mixes them: --discriminator-norm none suits it")
