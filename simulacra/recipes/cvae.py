"""*cvae*: what is missing from a picture."""

from typing import Literal

from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Game, Player, Stage
from simulacra.models.cvae import CVAE, CVAEConfig
from simulacra.optimizers import schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.coders import likelihood_of
from simulacra.recipes.single import SingleOptions


class CVAEOptions(CVAEConfig, SingleOptions):
    """Options of the recipe `cvae`; what is left open follows from the data."""

    likelihood: Literal["bernoulli", "gaussian"] | None = Field(
        default=None, description="p(y|x, z): of brightness, or of real values (default: bernoulli for one channel)"
    )
    sigma: float | None = Field(default=None, gt=0, description="standard deviation of the gaussian likelihood (0.1)")


@recipe(
    "cvae",
    family="explicit densities",
    rows=["A13"],
    data="mnist",
    paper="Sohn, Lee & Yan 2015, Learning Structured Output Representation Using Deep Conditional Generative Models",
    options=CVAEOptions,
)
def cvae(spec: Spec, size: int, options: CVAEOptions) -> Plan:
    """A baseline learns to guess the missing quadrants of a picture, then stands still while prior, recognition and
    decoder descend the negative bound on what is missing.

    command   simulacra train cvae --data mnist --quadrants 2
    budget    30 passes for each of the two parts over small sets, at most 20 000 steps
    score     MNIST, two quadrants given, 40 passes of batches of 128: 47.9 ± 0.2 nats for the others, grey, on the test
              images, where the baseline has 60.9 (docs/results.md)
    """
    if spec.kind != "image" or min(spec.image_shape[1:]) < 2:
        raise UserError(
            "cvae fills in quadrants of images, and the data has none: take images of at least 2 x 2 pixels"
        )
    options = options.model_copy(update=likelihood_of(spec, options))
    model, rate = CVAE(options.part(CVAEConfig), spec), schedule(options.schedule)
    shared = {"optimizer": options.optimizer, "rate": rate, "clip": options.clip}
    baseline = Player(name="baseline", module=model.baseline, **shared)  # as it is: the other learns beside it
    coder = Player(name="coder", module=model.coder, average=options.average, **shared)
    steps = budget(30, size, options.batch, within=(1000, 20_000))
    stages = [
        Stage(name="baseline", game=Game.single(baseline, model.guess_cost), steps=steps),
        Stage(name="coder", game=Game.single(coder, model.cost), steps=steps),
    ]
    return Plan(model=model, stages=stages, batch=options.batch, options=options)
