"""Deep Boltzmann machines."""

from functools import partial

import torch
from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Game, Move, Player, Round, Stage
from simulacra.models.dbm import DBM, DBMConfig
from simulacra.optimizers import SGD, Schedule, schedule
from simulacra.recipes import Plan, budget, recipe


class DBMOptions(DBMConfig):
    """Options of the recipe `dbm`."""

    k: int = Field(1, ge=1, description="steps of Gibbs sampling per update")
    decay: float = Field(1e-4, ge=0, description="weight decay: times half the squared norm of the weights")
    pretraining: float = Field(0.25, gt=0, description="length of a layer's stage, in units of the last stage's")
    joint_rate: float = Field(0.2, gt=0, description="learning rate of the last stage, as a share of `lr`")
    batch: int = Field(100, ge=1, description="images per step, and persistent chains")
    lr: float = Field(0.05, gt=0, description="learning rate")
    momentum: float = Field(0.5, ge=0, lt=1, description="momentum of the gradient")
    schedule: Schedule = Field("linear", description="how the learning rate falls over each stage")


@recipe(
    "dbm",
    family="explicit densities",
    rows=["A5"],
    data="mnist",
    paper="Salakhutdinov & Hinton 2009, Deep Boltzmann Machines",
    options=DBMOptions,
)
def dbm(spec: Spec, size: int, options: DBMOptions) -> Plan:
    """Each layer in turn learns by contrastive divergence with doubled weights; then all by mean field and PCD.

    command   simulacra train dbm --data mnist
    budget    50 passes over small sets, at most 20 000 steps, after a quarter of that for each layer
    score     none measured yet
    """
    if spec.kind != "image":
        raise UserError("dbm is of the brightness of images, the data is vectors: use rbm, which has real units too")
    model = DBM(options.part(DBMConfig), spec)
    optimizer, rate = SGD(lr=options.lr, momentum=options.momentum), schedule(options.schedule)
    players = [
        Player(name=f"layer{number}", module=layer, optimizer=optimizer, rate=rate)
        for number, layer in enumerate(model.coupled, start=1)
    ]
    steps = budget(50, size, options.batch, within=(1000, 20_000))
    short = max(round(steps * options.pretraining), 1)
    games = [_layer_game(model, number, player, options) for number, player in enumerate(players)]
    stages = [Stage(name=player.name, game=game, steps=short) for player, game in zip(players, games)]
    stages += [Stage(name="all", game=_joint_game(model, players, options), steps=steps)]
    return Plan(model=model, stages=stages, batch=options.batch, options=options, prepare=model.prepare)


def _layer_game(model: DBM, number: int, player: Player, options: DBMOptions) -> Game:
    """One layer descends the contrastive divergence of its doubled machine."""
    return Game.single(player, partial(model.layer_cost, layer=number, k=options.k, decay=options.decay))


def _joint_game(model: DBM, players: list[Player], options: DBMOptions) -> Game:
    """All layers at once, with chains of the odd layers; `gain` is the share of the learning rate."""
    names = [player.name for player in players]
    cost = partial(model.cost, k=options.k, decay=options.decay)
    state = {"chain": torch.zeros(options.batch, sum(options.hidden[::2]))}
    move = Move(name="all", players=names, cost=cost, gain=options.joint_rate)
    return Game(players, [Round(move)], state, per_sample=state)
