"""Generative adversarial networks: of perceptrons (*gan*) and of strided convolutions (*dcgan*)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from simulacra.config import Config
from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.spec import Spec
from simulacra.errors import UserError, unknown
from simulacra.game import Game, Move, Player, Round, Stage
from simulacra.models.gan import GAN, Adversary, GANConfig, discriminator
from simulacra.optimizers import Adam, Schedule, schedule
from simulacra.recipes import Plan, recipe


def _known_objective(name: str) -> str:
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    return name


class TwoPlayerOptions(Config):
    """What every game of a generator and a discriminator can be told."""

    objective: Annotated[str, AfterValidator(_known_objective)] = Field(
        "non-saturating", description=f"what the generator descends: {', '.join(OBJECTIVES)}"
    )
    prior: Literal["normal", "uniform"] = Field("normal", description="p(z): N(0, 1) or uniform on [-1, 1]")
    batch: int = Field(64, ge=1, description="images per step")
    generator: Adam = Adam(lr=2e-4, betas=(0.5, 0.999))
    discriminator: Adam = Adam(lr=2e-4, betas=(0.5, 0.999))
    discriminator_steps: int = Field(1, ge=1, description="k, discriminator steps per generator step")
    schedule: Schedule = Field("constant", description="how the learning rates fall over the horizon")
    average: float | None = Field(0.999, ge=0, lt=1, description="decay of the generator's average; null for none")
    r1: float = Field(0.0, ge=0, description="weight of the R1 penalty on real images; 0 for none")
    r1_every: int = Field(16, ge=1, description="steps from one R1 penalty to the next (lazy regularisation)")


class GANOptions(TwoPlayerOptions):
    """Options of the recipe `gan`."""

    latent: int = Field(64, ge=1, description="dimensions of the latent z")
    width: int = Field(256, ge=1, description="units of a hidden layer")
    depth: int = Field(2, ge=1, le=100, description="hidden layers")


class DCGANOptions(TwoPlayerOptions):
    """Options of the recipe `dcgan`."""

    latent: int = Field(100, ge=1, description="dimensions of the latent z")
    width: int = Field(64, ge=1, description="channels next to the image, doubled at each halving")


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
    return two_players(spec, options, "dcgan", steps=min(max(14 * size // options.batch, 4000), 20_000))


def two_players(spec: Spec, options: TwoPlayerOptions, network: str, steps: int) -> Plan:
    """The game of a generator and a discriminator: k steps of D, its lazy penalty if any, one step of G."""
    model = GAN(options.part(GANConfig, network=network), spec)
    critic = discriminator(model.config, spec)
    rate = schedule(options.schedule)
    players = [
        Player(name="discriminator", module=critic, optimizer=options.discriminator, rate=rate),
        Player(name="generator", module=model, optimizer=options.generator, rate=rate, average=options.average),
    ]
    costs = Adversary(model, critic, OBJECTIVES[options.objective], options.r1)
    k = options.discriminator_steps
    rounds = [
        Round(Move(name="discriminate", players=["discriminator"], cost=costs.discriminate, times=k)),
        Round(Move(name="penalise", players=["discriminator"], cost=costs.penalise, every=options.r1_every)),
        Round(Move(name="generate", players=["generator"], cost=costs.generate)),
    ]
    if not options.r1:
        del rounds[1]
    stage = Stage(name="train", game=Game(players, rounds), steps=steps)
    return Plan(model=model, stages=[stage], batch=options.batch, options=options)
