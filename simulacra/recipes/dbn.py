"""Deep belief nets."""

from collections.abc import Mapping
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import At, ClosedForm, Game, Move, Player, Round, Rows, Stage, Terms
from simulacra.models.dbn import DBN, DBNConfig
from simulacra.optimizers import schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.boltzmann import DeepOptions, require_brightness_of


class DBNOptions(DBNConfig, DeepOptions):
    """Options of the recipe `dbn`."""

    decay: float = Field(
        default=1e-4, ge=0, description="weight decay of a layer's stage: times half the squared norm of the weights"
    )
    persistent: bool = Field(
        default=True,
        description="whether chains of a layer's stage go on from update to update (PCD), as up-down's do not",
    )
    unrolled_rate: float | None = Field(
        default=None,
        gt=0,
        description="learning rate of a layer with units enough to start as the machine below it, as a share of `lr` "
        "(0.1)",
    )
    fine_tuning: float = Field(
        default=0.0, ge=0, description="length of the up-down stage, in units of a layer's; 0 leaves it out"
    )
    fine_rate: float | None = Field(default=None, gt=0, description="learning rate there, as a share of `lr` (0.1)")


@recipe(
    "dbn",
    family="explicit densities",
    rows=["A6"],
    data="mnist",
    paper="Hinton, Osindero & Teh 2006, A Fast Learning Algorithm for Deep Belief Nets",
    options=DBNOptions,
)
def dbn(spec: Spec, size: int, options: DBNOptions) -> Plan:
    """Each layer in turn learns as a restricted Boltzmann machine of what the layers below make of the data, starting
    as the machine below it upside down where it has the units for that, and then at a lower rate; then, where asked for
    (`--fine-tuning 1`), all together by the up-down algorithm.

    command   simulacra train dbn --data mnist
    budget    50 passes a layer over small sets, at most 20 000 steps a layer
    score     static binarised MNIST, 500-2000 units, PCD-1, 120 000 steps: bound −87.2 ± 0.3 nats, estimate −86.9, 0.4
              and 0.7 above its first layer, after 58 minutes on one CPU core (docs/results.md)
    """
    require_brightness_of(spec, "dbn")
    unrolled = starts(spec, options)
    options = resolve(options, unrolled)
    model = DBN(options.part(DBNConfig), spec)
    modules = {f"layer{number}": layer for number, layer in enumerate([*model.directed, model.top], start=1)}
    optimizer, rate = options.optimizer, schedule(options.schedule)
    players = [Player(name=name, module=layer, optimizer=optimizer, rate=rate) for name, layer in modules.items()]
    steps = budget(50, size, options.batch, within=(1000, 20_000))
    shares = [options.unrolled_rate if layer in unrolled else None for layer in range(len(players))]
    games = [_layer_game(model, n, player, share, options) for n, (player, share) in enumerate(zip(players, shares))]
    stages = [Stage(name=player.name, game=game, steps=steps) for player, game in zip(players, games)]
    for layer in reversed(unrolled):
        stages.insert(layer, _start(model, layer, players[layer]))
    if options.fine_tuning:
        length = max(round(steps * options.fine_tuning), 1)
        stages += [Stage(name="up-down", game=_up_down_game(model, players, options), steps=length)]
    return Plan(model=model, stages=stages, batch=options.batch, options=options, prepare=model.prepare)


def starts(spec: Spec, options: DBNOptions) -> list[int]:
    """The layers, from 0, that start as the machine below them upside down: those with units enough."""
    sizes = [spec.numel, *options.hidden]
    return [layer for layer in range(1, len(options.hidden)) if sizes[layer + 1] >= sizes[layer - 1]]


def resolve(options: DBNOptions, unrolled: list[int]) -> DBNOptions:
    """Settle what was left open. Raises UserError for a rate of what is left out."""
    if options.fine_rate and not options.fine_tuning:
        raise UserError("--fine-rate is of the up-down stage: leave it out, or add --fine-tuning 1")
    if options.unrolled_rate and not unrolled:
        raise UserError(
            "--unrolled-rate is of layers that start as the machine below them, and none has units enough: leave it out"
        )
    settled = {
        "fine_rate": options.fine_rate or (0.1 if options.fine_tuning else None),
        "unrolled_rate": options.unrolled_rate or (0.1 if unrolled else None),
    }
    return options.model_copy(update=settled)


def _start(model: DBN, layer: int, player: Player) -> Stage:
    """The layer is set to the machine below it upside down, which takes no look at the data."""

    def unroll(sums: Mapping[str, Tensor]) -> Terms:
        model.unroll(layer)
        return {}

    move = ClosedForm(name="unroll", players=[player.name], statistics=_count, apply=unroll, each="batch")
    return Stage(name=f"start of {player.name}", game=Game([player], [move]), steps=1, begins=True)


def _count(batch: Rows, at: At) -> Mapping[str, Tensor]:
    return {"rows": torch.tensor(len(batch.x))}


def _layer_game(model: DBN, number: int, player: Player, share: float | None, options: DBNOptions) -> Game:
    """One layer descends its contrastive divergence, at this share of the learning rate (all of it), the optimiser
    being linear in gradients; those below it stand still. The top learns base rates beside, at the whole rate."""
    given = {"layer": number, "gibbs": options.gibbs(options.persistent), "decay": options.decay}
    moves = [Move(name=player.name, players=[player.name], cost=partial(model.layer_cost, **given), gain=share)]
    if number == len(model.directed):
        moves += [Move(name="base", players=[player.name], cost=model.base_cost)]
    state = {"chain": torch.zeros(options.batch, options.hidden[number])} if options.persistent else {}
    return Game([player], [Round(*moves)], state, per_sample=state)


def _up_down_game(model: DBN, players: list[Player], options: DBNOptions) -> Game:
    """All layers at once; `gain` is the share of the learning rate, the optimiser being linear in gradients."""
    names = [player.name for player in players]
    cost = partial(model.up_down_cost, gibbs=options.gibbs(persistent=False))
    return Game(players, [Round(Move(name="up-down", players=names, cost=cost, gain=options.fine_rate or 0.0))])
