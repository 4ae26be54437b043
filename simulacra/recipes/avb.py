"""*avb*: variational Bayes whose posterior may have any shape."""

from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.game import Game, Move, Player, Round, Stage
from simulacra.models.avb import AVB, AVBConfig
from simulacra.optimizers import Adam, Schedule, schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.coders import CoderOptions, settle


class AVBOptions(CoderOptions, AVBConfig):
    """Options of the recipe `avb`; what is left open follows from the data."""

    latent: int | None = Field(default=8, ge=1, description="dimensions of the latent z")
    batch: int = Field(default=128, ge=1, description="images per step")
    ratio_steps: int = Field(default=1, ge=1, description="steps of the ratio network per step of encoder and decoder")
    coder: Adam = Adam(lr=1e-3, betas=(0.5, 0.999))
    ratio: Adam = Adam(lr=1e-3, betas=(0.5, 0.999))
    schedule: Schedule = Field(default="cosine", description="how the learning rates fall over the horizon")
    average: float | None = Field(default=0.999, ge=0, lt=1, description="decay of the averaged weights; null for none")


@recipe(
    "avb",
    family="explicit densities",
    rows=["A15"],
    data="mnist",
    paper="Mescheder, Nowozin & Geiger 2017, Adversarial Variational Bayes, arXiv:1701.04722",
    options=AVBOptions,
)
def avb(spec: Spec, size: int, options: AVBOptions) -> Plan:
    """A ratio network learns to tell the posterior from its contrast, then encoder and decoder descend the negative
    ELBO that it estimates.

    command   simulacra train avb --data mnist
    budget    100 passes over small sets, at most 40 000 steps
    score     MNIST, 8 latents, 40 000 steps: log p(x) above −93.2 ± 0.9 nats on the first 1 000 test images, 0.6 more
              than a vae's, after 62 minutes on one CPU core (docs/results.md)
    """
    options = settle(spec, options)
    model, rate = AVB(options.part(AVBConfig), spec), schedule(options.schedule)
    coder = Player(name="coder", module=model.coder, optimizer=options.coder, rate=rate, average=options.average)
    ratio = Player(name="ratio", module=model.ratio, optimizer=options.ratio, rate=rate, average=options.average)
    tell = Move(name="tell", players=["ratio"], cost=model.tell_apart, times=options.ratio_steps)
    descend = Move(name="descend", players=["coder"], cost=model.descend)
    game = Game([ratio, coder], [Round(tell), Round(descend)])
    steps = budget(100, size, options.batch, within=(2000, 40_000))
    return Plan(model=model, stages=[Stage(name="train", game=game, steps=steps)], batch=options.batch, options=options)
