"""How a small game moves near where it stands: the Jacobian of its vector field, and its eigenvalues.

The field is the one along which the players move: minus the gradients of `Play.gradients` (Mescheder, Nowozin & Geiger
2017, §2.2 and §3). An eigenvalue of negative real part pulls in, one of positive real part drives off, and an imaginary
part turns; where the field is 0 they say whether small enough steps converge.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from simulacra.errors import UserError
from simulacra.game import Clock, Game, Gradients, Play, Round, Rows, Table, Turn

LARGEST = 2000
"""The most parameters that `jacobian` takes: 32 MB in float64."""


def at_once(game: Game, batch: Rows, clock: Clock | None = None, table: Table | None = None) -> Play:
    """All moves of the game's rounds that descend, as one round on `batch`, each with its whole weight. Its noise is a
    function of the clock and of the move, so its field is a function of the parameters alone."""
    when = clock or Clock()
    moves = [move for each in game.rounds if isinstance(each, Round) for move in each.moves]
    key = (when.seed, when.stage, when.step, when.attempt)
    return Play(list(enumerate(moves)), Turn(game, batch, when, key, table or Table()))


def jacobian(play: Play) -> Tensor:
    """Row i, column j: the derivative of the i-th entry of the field by the j-th parameter, `[P, P]`.

    Parameters are those of all moving players, in the order of `play.names`, flattened. Each row is a `Play.pullback`
    of a unit vector, so it takes P of them and has the parameters' precision: float64 is recommended.

    Raises UserError where P is above `LARGEST`.
    """
    parameters = play.game.parameters(play.names)
    size = sum(parameter.numel() for parameter in parameters)
    if size > LARGEST:
        raise UserError(f"the game has {size} parameters, its Jacobian takes at most {LARGEST}: use smaller networks")
    return -torch.stack([_flat(play, play.pullback(unit)) for unit in _units(play)])


def eigenvalues(matrix: Tensor) -> Tensor:
    """The eigenvalues `[P]` of `[P, P]`, complex, in float64, the largest real part first."""
    found = torch.linalg.eigvals(matrix.double())
    return found[found.real.argsort(descending=True, stable=True)]


def _units(play: Play) -> Iterator[Gradients]:
    """Each entry of each parameter in turn: 1 there, 0 or None elsewhere."""
    for name in play.names:
        own = play.game.players[name].parameters
        for number, parameter in enumerate(own):
            for one in torch.eye(parameter.numel(), dtype=parameter.dtype, device=parameter.device):
                unit: Gradients = {other: [None] * len(play.game.players[other].parameters) for other in play.names}
                unit[name][number] = one.view_as(parameter)
                yield unit


def _flat(play: Play, gradients: Gradients) -> Tensor:
    """All gradients as one vector `[P]`, absent ones as zeros."""
    pairs = [pair for name in play.names for pair in zip(gradients[name], play.game.players[name].parameters)]
    return torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten() for g, p in pairs]).detach()
