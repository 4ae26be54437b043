"""Restricted Boltzmann machines."""

from functools import partial
from typing import Literal

import torch
from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Game, Move, Player, Round, Stage
from simulacra.models.rbm import RBM, RBMConfig
from simulacra.optimizers import SGD, schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.boltzmann import ContrastOptions

RATES = {"bernoulli": 0.05, "gaussian": 0.002}


class RBMOptions(RBMConfig, ContrastOptions):
    """Options of the recipe `rbm`; what is left open follows from the data."""

    visible: Literal["bernoulli", "gaussian"] | None = Field(
        default=None, description="visible units: bits, or real values (default: bernoulli for images of one channel)"
    )
    persistent: bool = Field(
        default=True, description="whether chains go on from update to update (PCD), or start from data"
    )
    lr: float | None = Field(
        default=None, gt=0, description="learning rate (default: 0.05 for bits, 0.002 for real values)"
    )
    average: float | None = Field(default=None, ge=0, lt=1, description="decay of the averaged weights; null for none")
    clip: float | None = Field(default=None, gt=0, description="bound on the gradient's norm")


@recipe(
    "rbm",
    family="explicit densities",
    rows=["A4"],
    data="mnist",
    paper="Hinton 2002, Training Products of Experts by Minimizing Contrastive Divergence",
    options=RBMOptions,
)
def rbm(spec: Spec, size: int, options: RBMOptions) -> Plan:
    """The machine descends F(data) − F(chain), chains of Gibbs sampling being held fixed.

    command   simulacra train rbm --data mnist
    budget    50 passes over small sets, at most 20 000 steps
    score     static binarised MNIST, 500 hidden units, PCD-1, 120 000 steps: AIS −86.75 ± 0.25 nats after 26 minutes on
              one CPU core; CD-25, --growing, --decay 1e-3, 60 000 steps: −86.70 ± 0.24 in 64 (docs/results.md)
    """
    options = resolve(spec, options)
    model = RBM(options.part(RBMConfig), spec)
    assert options.lr is not None
    player = Player(
        name="machine",
        module=model,
        optimizer=SGD(lr=options.lr, momentum=options.momentum),
        average=options.average,
        clip=options.clip,
        rate=schedule(options.schedule),
    )
    cost = partial(model.cost, gibbs=options.gibbs(options.persistent), decay=options.decay)
    state = {"chain": torch.zeros(options.batch, options.hidden)} if options.persistent else {}
    game = Game([player], [Round(Move(name="machine", players=["machine"], cost=cost))], state, per_sample=state)
    stage = Stage(name="train", game=game, steps=budget(50, size, options.batch, within=(2000, 20_000)))
    return Plan(model=model, stages=[stage], batch=options.batch, options=options, prepare=model.prepare)


def resolve(spec: Spec, options: RBMOptions) -> RBMOptions:
    """Settle what was left open by the data's shape. Raises UserError for options that would be ignored."""
    grey = spec.kind == "image" and spec.channels == 1
    visible = options.visible or ("bernoulli" if grey else "gaussian")
    if visible == "bernoulli" and spec.kind != "image":
        raise UserError("--visible bernoulli is of the brightness of images, the data is vectors: use gaussian")
    for name in ("sigma", "learned_sigma"):
        if visible == "bernoulli" and getattr(options, name) != _default(name):
            option = name.replace("_", "-")
            raise UserError(f"--{option} is of gaussian visible units, they are bernoulli here: add --visible gaussian")
    if visible == "gaussian" and options.bits != _default("bits"):
        raise UserError("--bits is of bernoulli visible units, they are gaussian here: add --visible bernoulli")
    return options.model_copy(update={"visible": visible, "lr": options.lr or RATES[visible]})


def _default(name: str) -> object:
    return RBMConfig.model_fields[name].default
