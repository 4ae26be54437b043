"""*ssgan*: a classifier from few labels."""

from math import log

from pydantic import Field

from simulacra.config import Config
from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Stage
from simulacra.models.adversary import Penalties, Tricks
from simulacra.models.ssgan import SSGAN, Realness, SemiSupervisedAdversary, SSGANConfig
from simulacra.optimizers import Adam, Schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.two_players import learning_game, refuse_idle


class SSGANOptions(Config):
    """Options of the recipe `ssgan`."""

    latent: int = Field(default=100, ge=1, description="dimensions of the latent z, uniform")
    width: int = Field(default=500, ge=1, description="units of the generator's hidden layers")
    depth: int = Field(default=2, ge=1, le=100, description="the generator's hidden layers")
    hidden: tuple[int, ...] = Field(
        default=(1000, 500, 250, 250, 250), description="units of the classifier's hidden layers"
    )
    noise: tuple[float, float] = Field(
        default=(0.6, 0.5), description="deviation of the noise on its input, of values in [-1, 1], and on its layers"
    )
    matching: float = Field(default=1.0, ge=0, description="weight of matching features; 0: labels alone, no generator")
    batch: int = Field(
        default=100, ge=1, description="rows per step: unlabelled, labelled and generated, so many of each"
    )
    generator: Adam = Adam(lr=3e-3, betas=(0.5, 0.999))
    discriminator: Adam = Adam(lr=3e-3, betas=(0.5, 0.999))
    schedule: Schedule = Field(default="linear", description="how the learning rates fall over the horizon")
    average: float | None = Field(
        default=0.999, ge=0, lt=1, description="decay of both players' averages; null for none"
    )


@recipe(
    "ssgan",
    family="conditional",
    rows=["B11"],
    data="mnist",
    paper="Salimans et al. 2016, Improved Techniques for Training GANs, arXiv:1606.03498",
    options=SSGANOptions,
    beside="labelled",
    ignorance=2 * log(2),
)
def ssgan(spec: Spec, size: int, options: SSGANOptions) -> Plan:
    """A classifier of perceptrons learns from few labels, from unlabelled images and from a generator that matches its
    features.

    command   simulacra train ssgan --data mnist --labelled 10
    budget    40 passes over the data, 4 000 to 40 000 steps
    score     2.1 to 2.7 % of test images misread with ten labels of each digit (five draws): docs/results.md
    """
    if not spec.classes:
        raise UserError("ssgan needs classes, and the data has none: sort images into a folder per class")
    refuse_idle(options, {"generator": ("matching",)})
    classes = len(spec.classes)
    config = options.part(SSGANConfig, classes=classes, network="mlp", norm="batch", activation="relu", prior="uniform")
    model = SSGAN(config, spec)
    tricks = Tricks(adversarial=0.0, matching=options.matching)
    judge = Realness(model.classifier)
    costs = SemiSupervisedAdversary(model, judge, OBJECTIVES["minimax"], Penalties(), tricks=tricks)
    game = learning_game(options, costs, model.classifier, model.generator, bool(options.matching))
    steps = budget(40, size, options.batch, within=(4000, 40_000))
    return Plan(model=model, stages=[Stage(name="train", game=game, steps=steps)], batch=options.batch, options=options)
