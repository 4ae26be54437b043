"""Games of players who are one number each, played by `Game`."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.theory.training import rows
from simulacra.costs.adversarial import minimax
from simulacra.game import Clock, Game, Move, Player, Round, Rule, leave
from simulacra.jacobian import at_once, jacobian
from simulacra.optimizers import SGD

ONE = rows(torch.ones(1, 1, dtype=torch.float64))
"""A batch for games that look at none."""


class Point(nn.Module):
    """A player who is one number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([value], dtype=torch.float64))


Payoff = Callable[[Tensor, Tensor], Tensor]


def product(x: Tensor, y: Tensor) -> Tensor:
    """f = xy, which x descends and y ascends."""
    return x * y


def dirac(x: Tensor, y: Tensor) -> Tensor:
    """The Dirac GAN: data at 0, the fake at x, D's score of a point is y times it; the constant term is left out."""
    return minimax(x * y)["fool"]


def game_of(
    payoff: Payoff, rule: Rule, lr: float, start: Sequence[float], alternating: bool = False, gamma: float = 0.0
) -> Game:
    """x descends the payoff, y ascends it and pays ½γy²: R1 where y is the slope of a linear discriminator."""
    x, y = Point(start[0]), Point(start[1])
    moves = [
        Move(name="x", players=["x"], cost=lambda rows, at: {"f": payoff(x.at, y.at)}),
        Move(name="y", players=["y"], cost=lambda rows, at: {"f": 0.5 * gamma * y.at.square() - payoff(x.at, y.at)}),
    ]
    players = [Player(name=n, module=m, optimizer=SGD(lr=lr)) for n, m in (("x", x), ("y", y))]
    return Game(players, [Round(m, rule=rule) for m in moves] if alternating else [Round(*moves, rule=rule)])


def place(game: Game) -> list[float]:
    """Where the players are, each one number."""
    return [parameter.item() for player in game.players.values() for parameter in player.parameters]


def trajectory(game: Game, steps: int) -> Tensor:
    """Where the players are before the first and after every step, `[steps + 1, players]`."""
    path = [place(game)]
    for step in range(steps):
        game.step(lambda k: ONE, Clock(step=step))
        path.append(place(game))
    return torch.tensor(path, dtype=torch.float64)


def update_matrix(payoff: Payoff, lr: float, alternating: bool) -> Tensor:
    """What one step multiplies (x, y) by, `[2, 2]`, for a payoff whose game is linear."""
    ends = [trajectory(game_of(payoff, leave, lr, start, alternating), 1)[-1] for start in ((1.0, 0.0), (0.0, 1.0))]
    return torch.stack(ends, 1)


def slopes(game: Game) -> Tensor:
    """The Jacobian `[players, players]` of the field along which the players move, where they are."""
    return jacobian(at_once(game, ONE))
