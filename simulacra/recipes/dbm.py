"""Deep Boltzmann machines."""

from functools import partial

import torch
from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.game import Game, Move, Player, Round, Stage
from simulacra.models.dbm import DBM, DBMConfig
from simulacra.optimizers import schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.boltzmann import DeepOptions, require_brightness_of


class DBMOptions(DBMConfig, DeepOptions):
    """Options of the recipe `dbm`."""

    pretraining: float = Field(
        default=0.25, gt=0, description="length of a layer's stage, in units of the last stage's"
    )
    joint_rate: float = Field(default=0.2, gt=0, description="learning rate of the last stage, as a share of `lr`")


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
    require_brightness_of(spec, "dbm")
    model = DBM(options.part(DBMConfig), spec)
    optimizer, rate = options.optimizer, schedule(options.schedule)
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
    gibbs = options.gibbs(persistent=False)
    return Game.single(player, partial(model.layer_cost, layer=number, gibbs=gibbs, decay=options.decay))


def _joint_game(model: DBM, players: list[Player], options: DBMOptions) -> Game:
    """All layers at once, with chains of the odd layers; `gain` is the share of the learning rate."""
    names = [player.name for player in players]
    cost = partial(model.cost, gibbs=options.gibbs(persistent=True), decay=options.decay)
    state = {"chain": torch.zeros(options.batch, sum(options.hidden[::2]))}
    move = Move(name="all", players=names, cost=cost, gain=options.joint_rate)
    return Game(players, [Round(move)], state, per_sample=state)
