"""Play a case outside the trainer: on this rank's rows, in float64, and look at all it has changed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from simulacra import checkpoint
from simulacra.data import Batch, Feed, Source, open_data
from simulacra.game import Clock, Game, Player, Stage, Table
from simulacra.recipes import find
from simulacra.timeline import Timeline
from tests.checks.cases import Case


@cache
def source(word: str) -> Source:
    """A data set, opened once."""
    return open_data(word)


def wide(batch: Batch) -> Batch:
    """The batch in float64, and what lies beside it."""
    return replace(batch, x=batch.x.double(), beside=batch.beside and wide(batch.beside))


class Playing:
    """A case being played: `stages` from one initialisation, `step` steps in."""

    def __init__(self, case: Case, table: Table | None = None, batch: int | None = None) -> None:
        self.case, self.table, self.batch = case, table or Table(), batch or case.batch
        self.source = source(case.data)
        self.stages: Sequence[Stage] = case.stages(self.source.spec)
        self.timeline = Timeline([stage.steps for stage in self.stages], sum(stage.steps for stage in self.stages))
        self.step = 0
        self.terms: dict[str, float] = {}
        for stage in self.stages:
            stage.game.start = {name: value.double() for name, value in stage.game.start.items()}
            stage.game.reset(self.table)

    @property
    def players(self) -> dict[str, Player]:
        return {name: player for stage in self.stages for name, player in stage.game.players.items()}

    @property
    def game(self) -> Game:
        return self.stages[self.timeline.at(self.step).stage].game

    def batches(self) -> Iterator:
        """This rank's batches of the current step, in float64."""
        number, local, _ = self.timeline.at(self.step)
        stage = self.stages[number]
        feed = Feed(
            self.source,
            seed=0,
            stage=number,
            batch=self.batch,
            rank=self.table.rank,
            ranks=self.table.size,
            full_passes=stage.full_passes > 0,
            beside=self.source if self.case.recipe and find(self.case.recipe).beside else None,
        )
        for k in range(stage.game.batches_per_step):
            batch = feed.at(local * stage.game.batches_per_step + k)
            yield stage.view(wide(batch))

    def clock(self) -> Clock:
        number, local, progress = self.timeline.at(self.step)
        return Clock(seed=7, stage=number, step=local, progress=progress)

    def play(self, steps: int) -> "Playing":
        """Play on."""
        for _ in range(steps):
            self.terms |= self.game.step(list(self.batches()).__getitem__, self.clock(), self.table)
            self.step += 1
        return self

    def all(self) -> dict[str, Tensor]:
        """Everything training has changed, as a checkpoint holds it."""
        return checkpoint.collect(self.players, self.game, self.table)


def difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest absolute difference between two such collections, which must hold the same names."""
    assert a.keys() == b.keys()
    return max((a[name].double() - b[name].double()).abs().max().item() for name in a if a[name].numel())


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two collections are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
