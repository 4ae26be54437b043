"""*cogan*: two domains, their labels on one side only."""

from math import log

from pydantic import Field

from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Stage
from simulacra.models.cogan import CoGAN, CoGANConfig, CoupledAdversary
from simulacra.optimizers import Adam, Schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.two_players import learning_game, refuse_idle


class CoGANOptions(Config):
    """Options of the recipe `cogan`."""

    latent: int = Field(default=100, ge=1, description="dimensions of the latent z, uniform")
    width: int = Field(default=64, ge=1, description="channels of the generators next to the image")
    class_weight: float = Field(
        default=20.0, gt=0, description="weight of the classifier's term, of the first data's labels"
    )
    agreement: float = Field(default=0.02, ge=0, description="weight of alike features of the two images of one z")
    adversarial: bool = Field(
        default=True, description="false: labels alone, no generators; classify_first is what is learned"
    )
    batch: int = Field(default=64, ge=1, description="rows per step: of each data set and of each generator, so many")
    generator: Adam = Adam(lr=2e-4, betas=(0.5, 0.999), l2=5e-4)
    discriminator: Adam = Adam(lr=2e-4, betas=(0.5, 0.999), l2=5e-4)
    schedule: Schedule = Field(default="constant", description="how the learning rates fall over the horizon")
    average: float | None = Field(
        default=0.999, ge=0, lt=1, description="decay of both players' averages; null for none"
    )


@recipe(
    "cogan",
    family="adaptation",
    rows=["C8"],
    data="mnist",
    paper="Liu & Tuzel 2016, Coupled Generative Adversarial Networks, arXiv:1606.07536",
    options=CoGANOptions,
    beside="data",
    ignorance=4 * log(2),  # of two discriminators
)
def cogan(spec: Spec, size: int, options: CoGANOptions) -> Plan:
    """Two generators and two discriminators that share layers make pairs of two data sets; labels of the first teach a
    classifier of the second.

    command   simulacra train cogan --data mnist --beside usps
    budget    320 passes over the data, 4 000 to 20 000 steps
    score     .919 of USPS's test digits read from MNIST's labels, .910 from USPS to MNIST, width 32, 10 000 steps, five
              draws: docs/results.md
    """
    if spec.kind != "image":
        raise UserError("cogan pairs images, the data is vectors: choose data of images")
    if not spec.classes:
        raise UserError("cogan learns from classes of the first data set, and it has none: sort it into a folder each")
    refuse_idle(options, dict.fromkeys(("agreement", "generator"), ("adversarial",)))
    config = options.part(CoGANConfig, classes=len(spec.classes), network="dcgan", norm="batch", prior="uniform")
    model = CoGAN(config, spec)
    costs = CoupledAdversary(model, options.class_weight, options.agreement)
    game = learning_game(options, costs, model.discriminator, model.generator, options.adversarial)
    steps = budget(320, size, options.batch, within=(4000, 20_000))
    return Plan(model=model, stages=[Stage(name="train", game=game, steps=steps)], batch=options.batch, options=options)
