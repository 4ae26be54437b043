"""Games of one: a model that descends one cost, and what such a training can be told."""

from pydantic import Field

from simulacra.config import Config
from simulacra.game import Cost, Game, Player, Stage
from simulacra.models.base import Model
from simulacra.optimizers import Adam, Schedule, schedule
from simulacra.recipes import Plan


class SingleOptions(Config):
    """How one player descends."""

    batch: int = Field(default=128, ge=1, description="images per step")
    optimizer: Adam = Adam(lr=1e-3)
    schedule: Schedule = Field(default="cosine", description="how the learning rate falls over the horizon")
    average: float | None = Field(default=0.999, ge=0, lt=1, description="decay of the averaged weights; null for none")
    clip: float | None = Field(default=None, gt=0, description="bound on the gradient's norm")


def single(player: str, model: Model, cost: Cost, steps: int, options: SingleOptions) -> Plan:
    """The plan of `model` as the only player, of that name, for so many steps."""
    one = Player(
        name=player,
        module=model,
        optimizer=options.optimizer,
        average=options.average,
        clip=options.clip,
        rate=schedule(options.schedule),
    )
    stage = Stage(name="train", game=Game.single(one, cost), steps=steps)
    return Plan(model=model, stages=[stage], batch=options.batch, options=options)
