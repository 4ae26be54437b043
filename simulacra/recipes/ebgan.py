"""GANs whose discriminator is an autoencoder: *ebgan* and *began*."""

from typing import Literal, TypeVar

from pydantic import Field

from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Game, Player, Stage
from simulacra.models.ebgan import Autoencoder, BoundaryAdversary, EnergyAdversary, start
from simulacra.models.gan import GAN, GANConfig
from simulacra.optimizers import Adam, Schedule, schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.two_players import taking_turns


class AutoencodedOptions(Config):
    """What both games can be told."""

    network: Literal["mlp", "dcgan"] | None = Field(
        default=None, description="perceptrons or convolutions (default: dcgan for images)"
    )
    prior: Literal["normal", "uniform"] = Field(default="uniform", description="p(z): N(0, 1) or uniform on [-1, 1]")
    latent: int = Field(default=64, ge=1, description="dimensions of the latent z")
    code: int = Field(default=64, ge=1, description="numbers in the discriminator's code")
    width: int | None = Field(
        default=None, ge=1, description="channels next to the image (dcgan: 64), units (mlp: 256)"
    )
    batch: int = Field(default=64, ge=2, description="images per step")
    generator: Adam = Adam(lr=1e-4, betas=(0.5, 0.999))
    discriminator: Adam = Adam(lr=1e-4, betas=(0.5, 0.999))
    schedule: Schedule = Field(default="constant", description="how the learning rates fall over the horizon")
    average: float | None = Field(
        default=0.999, ge=0, lt=1, description="decay of the generator's average; null for none"
    )


class EBGANOptions(AutoencodedOptions):
    """Options of the recipe `ebgan`."""

    margin: float = Field(
        default=10.0, gt=0, description="energy that samples are pushed up to, in units of the image's norm"
    )
    pull: float = Field(default=0.1, ge=0, description="weight of the pulling-away term; 0 for none")


class BEGANOptions(AutoencodedOptions):
    """Options of the recipe `began`."""

    gamma: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="diversity: error on samples over that on data (paper: 0.3 to 0.7, on faces)",
    )
    balance_rate: float = Field(default=1e-3, gt=0, description="lambda, the rate at which k follows the balance")


@recipe(
    "ebgan",
    family="adversarial",
    rows=["B3"],
    data="mnist",
    paper="Zhao, Mathieu & LeCun 2017, Energy-based Generative Adversarial Network, arXiv:1609.03126",
    options=EBGANOptions,
)
def ebgan(spec: Spec, size: int, options: EBGANOptions) -> Plan:
    """The discriminator is an autoencoder whose error is an energy; a pulling-away term spreads the samples' codes.

    command   simulacra train ebgan --data mnist
    budget    14 passes over the data, 4 000 to 20 000 steps
    score     none measured yet
    """
    options = resolve(spec, options)
    model, autoencoder, players = _players(spec, options)
    costs = EnergyAdversary(model, autoencoder, options.margin, options.pull)
    return _plan(model, Game(players, taking_turns(costs.discriminate, costs.generate)), size, options)


@recipe(
    "began",
    family="adversarial",
    rows=["B3"],
    data="mnist",
    paper="Berthelot, Schumm & Metz 2017, BEGAN: Boundary Equilibrium GANs, arXiv:1703.10717",
    options=BEGANOptions,
)
def began(spec: Spec, size: int, options: BEGANOptions) -> Plan:
    """The discriminator is an autoencoder; a control on its error keeps both players in balance. The error on data plus
    the distance from balance measures convergence (`M_global` in the log).

    command   simulacra train began --data mnist
    budget    14 passes over the data, 4 000 to 20 000 steps
    score     none measured yet
    """
    options = resolve(spec, options)
    model, autoencoder, players = _players(spec, options)
    costs = BoundaryAdversary(model, autoencoder, options.gamma, options.balance_rate)
    return _plan(model, Game(players, taking_turns(costs.discriminate, costs.generate), state=start()), size, options)


Options = TypeVar("Options", bound=AutoencodedOptions)


def resolve(spec: Spec, options: Options) -> Options:
    """The options with what they leave open settled by the data."""
    network = options.network or ("dcgan" if spec.kind == "image" else "mlp")
    width = options.width or {"dcgan": 64, "mlp": 256}[network]
    return options.model_copy(update={"network": network, "width": width})


def _players(spec: Spec, options: AutoencodedOptions) -> tuple[GAN, Autoencoder, list[Player]]:
    if options.network == "dcgan" and spec.kind != "image":
        raise UserError("convolutions are for images, the data is vectors: give --network mlp")
    model = GAN(options.part(GANConfig), spec)
    autoencoder = Autoencoder(model.config, spec, options.code)
    rate = schedule(options.schedule)
    return (
        model,
        autoencoder,
        [
            Player(name="discriminator", module=autoencoder, optimizer=options.discriminator, rate=rate),
            Player(name="generator", module=model, optimizer=options.generator, rate=rate, average=options.average),
        ],
    )


def _plan(model: GAN, game: Game, size: int, options: AutoencodedOptions) -> Plan:
    steps = budget(14, size, options.batch, within=(4000, 20_000))
    return Plan(model=model, stages=[Stage(name="train", game=game, steps=steps)], batch=options.batch, options=options)
