"""One network alone, trained on samples: what all discriminators and critics on a line have in common."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.theory.line import Normal
from simulacra.data.batch import Batch
from simulacra.game import Clock, Cost, Game, Player
from simulacra.networks.mlp import MLP
from simulacra.optimizers import SGD, Adam
from simulacra.play import At


def rows(x: Tensor) -> Batch:
    """`x` `[N, ...]` as a batch without labels."""
    return Batch(x=x, labels=None, index=torch.arange(len(x)), start=0, joint=len(x), pass_end=False)


def perceptron(activation: Callable[[], nn.Module] = nn.Tanh) -> MLP:
    """From x `[N, 1]` to scores `[N, 1]` by 2 × 32 units, in float64; weights of seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MLP((1,), (1,), 32, activation=activation).double()


def pair(p: Normal, q: Normal, at: At) -> tuple[Tensor, Tensor]:
    """New samples `[N, 1]` of p and of q, as many as the batch has rows."""
    return p.mean + p.deviation * at.normal(1), q.mean + q.deviation * at.normal(1)


def alone(name: str, module: nn.Module, optimizer: SGD | Adam, cost: Cost) -> Game:
    """`module` as the only player; its rate falls to zero."""
    player = Player(name=name, module=module, optimizer=optimizer, rate=lambda progress: 1.0 - progress)
    return Game.single(player, cost)


def played(game: Game, x: Tensor, steps: int) -> Iterator[int]:
    """Play on the rows `x`; how many steps are done, after each."""
    for step in range(steps):
        game.step(lambda k: rows(x), Clock(step=step, progress=step / steps))
        yield step + 1
