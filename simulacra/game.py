"""The kernel: every model is trained by playing a game.

A **player** owns parameters and buffers. A **move** names players and the cost they descend. A **round** is a set of
moves that see the same parameters: all its gradients are taken first, then every player named steps once. A **game**
is a list of rounds played in turn, plus state that is not parameters. `Game.step` plays each round once through.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import lcm
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor, nn

from simulacra.buffers import held
from simulacra.ema import Average
from simulacra.play import (
    At,
    Clock,
    Gradients,
    NonFinite,
    Play,
    Rows,
    Table,
    Terms,
    Turn,
    means,
    norm,
    require_finite,
    split,
)
from simulacra.rules import Rule, consensus, extragradient, leave

__all__ = [
    "At", "Clock", "ClosedForm", "Game", "Gradients", "Move", "NonFinite", "Play", "Player", "Round", "Rows", "Rule",
    "Stage", "Table", "Terms", "consensus", "extragradient", "leave", "split",
]  # fmt: skip


class Optimizer(Protocol):
    """Settings that build an optimiser; `correction` makes room for lazy steps (`optimizers.Adam.build`)."""

    def build(self, parameters: Iterable[nn.Parameter], correction: float = 1.0) -> torch.optim.Optimizer:
        """The optimiser over `parameters`."""
        ...


@dataclass(kw_only=True, eq=False)
class Player:
    """Owns the parameters and buffers of `module`. `optimizer` None: it moves in closed form only.

    `average`: decay of the moving average of its weights; `clip`: bound on its gradient's norm; `rate`: factor on the
    learning rate as a function of progress in [0, 1]; `projection`: brings the module's parameters, in place, back to
    where they are allowed to be, after each of its steps.
    """

    name: str
    module: nn.Module
    optimizer: Optimizer | None = None
    average: float | None = None
    clip: float | None = None
    rate: Callable[[float], float] = lambda progress: 1.0
    projection: Callable[[nn.Module], None] | None = None
    parameters: list[nn.Parameter] = field(init=False)
    averaged: Average | None = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = list(self.module.parameters())
        self.averaged = None if self.average is None else Average(self.parameters, self.average)


Cost = Callable[[Any, At], Terms]


@dataclass(frozen=True, kw_only=True)
class Move:
    """`players` descend `cost(batch, at)`. With `forward`, `cost` maps each player's name to its own cost of what
    `forward(batch, at)` returned, computed once (`cost[name](shared, at)`).

    `times`: repetitions, each on the next batch with new noise. `every`: play one in so many times, with the cost
    times `gain` (default `every`), as lazy regularisers do. `when`: play only while it holds of the game's state.
    """

    name: str
    players: Sequence[str]
    cost: Cost | Mapping[str, Cost]
    forward: Callable[[Any, At], Any] | None = None
    times: int = 1
    every: int = 1
    gain: float | None = None
    when: Callable[[Mapping[str, Tensor]], bool] = lambda state: True

    def __post_init__(self) -> None:
        if self.times < 1 or self.every < 1:
            raise ValueError(f"move '{self.name}': `times` and `every` are at least 1")
        if isinstance(self.cost, Mapping) != (self.forward is not None):
            raise ValueError(f"move '{self.name}': a cost for each player takes a `forward`, one for all takes none")
        if isinstance(self.cost, Mapping) and set(self.cost) != set(self.players):
            raise ValueError(f"move '{self.name}': costs for {sorted(self.cost)}, players {sorted(self.players)}")

    @property
    def weight(self) -> float:
        """What its cost is multiplied by."""
        return self.every if self.gain is None else self.gain

    def costs(self, batch: Rows, at: At) -> Iterator[tuple[Sequence[str], str, Terms]]:
        """Each cost as (the players who descend it, a prefix for its terms' names, its terms)."""
        if self.forward is None:
            yield self.players, f"{self.name}/", self.cost(batch, at)  # type: ignore[operator]
            return
        shared = self.forward(batch, at)
        for name in self.players:
            yield [name], f"{self.name}/{name}/", self.cost[name](shared, at)  # type: ignore[index]


class Round:
    """Moves that see the same parameters; `rule` makes of their gradients those that are applied."""

    descends, needs_pass = True, False

    def __init__(self, *moves: Move, rule: Rule = leave) -> None:
        self.moves, self.rule = moves, rule
        if not moves:
            raise ValueError("a round needs a move")
        if len({move.times for move in moves}) != 1:
            raise ValueError("the moves of a round must share `times`: they are repeated together")
        self.times = moves[0].times

    @property
    def names(self) -> list[str]:
        """The names of its moves."""
        return [move.name for move in self.moves]

    @property
    def players(self) -> list[str]:
        """The names of all players of its moves."""
        return [name for move in self.moves for name in move.players]

    def play(self, turn: Turn, count: int) -> dict[str, float]:
        """Play the moves that are due the `count`-th time the round comes up; the terms by name."""
        moves = enumerate(self.moves)
        due = [(n, move) for n, move in moves if count % move.every == 0 and move.when(turn.game.state)]
        if not due:
            return {}
        play = Play(due, turn)
        gradients = self.rule(play)
        terms = turn.game.apply(gradients, play)
        turn.commit()
        return terms

    def frequency(self, player: str) -> tuple[float, float]:
        """How often a game step makes `player` step here: (in every step, in lazy steps only)."""
        periods = [move.every for move in self.moves if player in move.players]
        if not periods:
            return 0.0, 0.0
        cycle = lcm(*periods)
        rate = self.times * sum(any(count % period == 0 for period in periods) for count in range(cycle)) / cycle
        return (rate, 0.0) if min(periods) == 1 else (0.0, rate)


@dataclass(frozen=True, kw_only=True)
class ClosedForm:
    """A round of one move without gradients: `statistics(batch, at)` returns named sums over the rows, which the
    kernel adds up over batches and ranks; at the end of a data pass `apply(sums)` sets the players and returns terms.
    `each`: or after every batch, as stepwise methods do.
    """

    name: str
    players: Sequence[str]
    statistics: Callable[[Any, At], Mapping[str, Tensor]]
    apply: Callable[[Mapping[str, Tensor]], Terms]
    each: Literal["pass", "batch"] = "pass"
    times: ClassVar[int] = 1
    descends: ClassVar[bool] = False

    @property
    def names(self) -> list[str]:
        """Its own name."""
        return [self.name]

    @property
    def needs_pass(self) -> bool:
        """Whether it is applied at the end of a data pass only."""
        return self.each == "pass"

    def play(self, turn: Turn, count: int) -> dict[str, float]:
        """Add this batch's statistics; when they are due, apply their sum."""
        sums = turn.game.statistics.setdefault(self.name, {})
        with torch.no_grad(), held(*(p.module for p in turn.game.players.values())):
            for batch, at, _ in turn.parts(0):
                for name, value in self.statistics(batch, at).items():
                    sums[name] = sums[name] + value if name in sums else value.clone()
        turn.commit()
        due = turn.batch.pass_end or not self.needs_pass
        return self._finish(turn, turn.game.statistics.pop(self.name)) if due else {}

    @torch.no_grad()
    def _finish(self, turn: Turn, sums: dict[str, Tensor]) -> dict[str, float]:
        turn.table.sum([*sums.values()])
        owners = {self.name: self.players}
        require_finite({f"{self.name}/{name}": value.double().sum() for name, value in sums.items()}, owners, turn)
        terms = {f"{self.name}/{name}": term for name, term in means(self.apply(sums)).items()}
        return require_finite(terms, owners, turn)

    def frequency(self, player: str) -> tuple[float, float]:
        """No optimiser step is ever made here."""
        return 0.0, 0.0


class Game:
    """Players, the rounds they play in turn, and state that is not parameters.

    `state` is shared (equal on all ranks) unless named in `per_sample` (row i belongs to row i of the joint batch).
    Raises ValueError where a name is unknown or twice there, or a parameter has two owners.
    """

    def __init__(
        self,
        players: Iterable[Player],
        rounds: Sequence[Round | ClosedForm],
        state: Mapping[str, Tensor] | None = None,
        per_sample: Iterable[str] = (),
    ) -> None:
        listed = list(players)
        self.players = {player.name: player for player in listed}
        self.rounds, self.start, self.per_sample = rounds, dict(state or {}), frozenset(per_sample)
        self.state = dict(self.start)
        self.statistics: dict[str, dict[str, Tensor]] = {}
        self._check(listed)
        self.optimizers = {p.name: self._optimizer(p, p.optimizer) for p in listed if p.optimizer}

    @classmethod
    def single(cls, player: Player, cost: Cost) -> Self:
        """The game of one: `player` descends `cost`."""
        return cls([player], [Round(Move(name=player.name, players=[player.name], cost=cost))])

    def _check(self, listed: list[Player]) -> None:
        owners: dict[int, str] = {}
        for player in listed:
            for parameter in player.parameters:
                if owners.setdefault(id(parameter), player.name) != player.name:
                    raise ValueError(f"a parameter is owned by both '{owners[id(parameter)]}' and '{player.name}'")
        if len(self.players) < len(listed):
            raise ValueError(f"two players share a name among {[p.name for p in listed]}")
        if missing := {name for round_ in self.rounds for name in round_.players} - set(self.players):
            raise ValueError(f"moves name players that do not play: {sorted(missing)}")
        names = [name for round_ in self.rounds for name in round_.names]
        if len(set(names)) < len(names):
            raise ValueError(f"two moves share a name among {names}")
        for round_ in self.rounds:
            if still := [n for n in round_.players if round_.descends and not self.players[n].optimizer]:
                raise ValueError(f"players of gradient moves have no optimizer: {still}")
        if wrong := [name for name in self.players if "/" in name]:
            raise ValueError(f"names of players hold no slash: {wrong}")
        if missing := self.per_sample - set(self.state):
            raise ValueError(f"per-sample state is not in the state: {sorted(missing)}")

    def _optimizer(self, player: Player, settings: Optimizer) -> torch.optim.Optimizer:
        """Built with room for lazy steps: regular steps over all, k/(k+1) with one regulariser every k steps."""
        regular, lazy = map(sum, zip((0.0, 0.0), *(round_.frequency(player.name) for round_ in self.rounds)))
        optimizer = settings.build(player.parameters, regular / (regular + lazy) if regular else 1.0)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return optimizer

    def reset(self, table: Table) -> None:
        """As before any step, the players' weights apart: no optimiser memory, no statistics, the first state (of
        which this rank takes its rows)."""
        for optimizer in self.optimizers.values():
            optimizer.state.clear()
        self.statistics.clear()
        self.state = {
            name: value.tensor_split(table.size)[table.rank] if name in self.per_sample else value
            for name, value in self.start.items()
        }

    @property
    def batches_per_step(self) -> int:
        """How many joint batches a step takes: the first, and one for each further repetition."""
        return 1 + sum(round_.times - 1 for round_ in self.rounds)

    def step(self, batches: Callable[[int], Rows], clock: Clock, table: Table | None = None) -> dict[str, float]:
        """Play every round once, `batches(k)` being the step's k-th batch; the terms of the last repetitions by name.

        Raises NonFinite before a round would touch weights or optimiser state with a NaN or an infinity.
        """
        terms: dict[str, float] = {}
        taken = 0
        for number, round_ in enumerate(self.rounds):
            for repetition in range(round_.times):
                taken += repetition > 0
                key = (clock.seed, clock.stage, clock.step, clock.attempt, number, repetition)
                turn = Turn(self, batches(taken), clock, key, table or Table())
                terms |= round_.play(turn, clock.step * round_.times + repetition)
        for player in self.players.values():
            if player.averaged:
                player.averaged.update()
        return terms

    @contextmanager
    def moving(self, names: Sequence[str]) -> Iterator[None]:
        """Inside, exactly the players `names` require grad, and the others' buffers are read-only."""
        for player in self.players.values():
            _require_grad(player.parameters, player.name in names)
        with held(*(player.module for player in self.players.values() if player.name not in names)):
            yield

    def parameters(self, names: Sequence[str]) -> list[nn.Parameter]:
        """The parameters of the players `names`, in order."""
        return [parameter for name in names for parameter in self.players[name].parameters]

    def take_gradients(self, names: Sequence[str]) -> Gradients:
        """What has gathered in `.grad`, which is left empty."""
        gradients: Gradients = {name: [p.grad for p in self.players[name].parameters] for name in names}
        for parameter in self.parameters(names):
            parameter.grad = None
        return gradients

    def apply(self, gradients: Gradients, play: Play) -> dict[str, float]:
        """Step every player along its gradient, once all of it is known to be finite; terms and gradient norms."""
        norms = {f"{n}/gradient": norm(grads, self.players[n].parameters[0]) for n, grads in gradients.items()}
        terms = require_finite(play.terms | norms, play.owners, play.turn)
        for name, grads in gradients.items():
            self._move(self.players[name], grads, terms[f"{name}/gradient"], play.turn.clock.progress)
        return terms

    def _move(self, player: Player, grads: list[Tensor | None], norm: float, progress: float) -> None:
        optimizer = self.optimizers[player.name]
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * player.rate(progress)
        if player.clip and norm > player.clip:
            present = [grad for grad in grads if grad is not None]
            torch._foreach_mul_(present, player.clip / norm)  # type: ignore[reportPrivateImportUsage]
        for parameter, grad in zip(player.parameters, grads):
            parameter.grad = grad
        optimizer.step()
        if player.projection is not None:
            with torch.no_grad():
                player.projection(player.module)
        for parameter in player.parameters:
            parameter.grad = None

    def snapshot(self, name: str) -> Callable[[], None]:
        """Keep `name`'s parameters, buffers and optimiser state; calling the result puts them back."""
        module, optimizer = self.players[name].module, self.optimizers[name]
        tensors = [*module.parameters(), *module.buffers()]
        copies = [t.detach().clone() for t in tensors]
        memory = {p: {k: v.clone() for k, v in s.items()} for p, s in optimizer.state.items()}

        @torch.no_grad()
        def restore() -> None:
            for tensor, copy in zip(tensors, copies):
                tensor.copy_(copy)
            optimizer.state.clear()
            optimizer.state.update(memory)

        return restore


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training: its own game, `steps` (its share of the run's), and optionally its own view of a batch.

    `full_passes`, above 0: data in fixed order, every pass whole, as closed-form moves want it, and at least so many.
    `begins`: the players are put at a start, which a warm start puts them at instead.
    """

    name: str
    game: Game
    steps: int
    view: Callable[[Any], Any] = lambda batch: batch
    full_passes: int = 0
    begins: bool = False

    def __post_init__(self) -> None:
        if not self.full_passes and any(round_.needs_pass for round_ in self.game.rounds):
            raise ValueError(f"stage '{self.name}' plays closed-form moves, which are applied after `full_passes`")


def _require_grad(parameters: Iterable[nn.Parameter], on: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad = on
