"""Rules on gradients, against the game's vector field and its Jacobian worked out by hand."""

import pytest
import torch
from torch import nn

from simulacra.data.batch import Batch
from simulacra.game import Clock, Game, Move, Play, Player, Round, Table, Turn, consensus, extragradient, leave
from simulacra.optimizers import SGD, Adam
from simulacra.rules import half_squared_field

GENERATOR = torch.Generator().manual_seed(0)
P, Q, A = (torch.randn(3, 3, generator=GENERATOR, dtype=torch.float64) for _ in range(3))
P, Q = P + P.T, Q + Q.T
JACOBIAN = torch.cat([torch.cat([P, A], 1), torch.cat([-A.T, Q], 1)])


def rows(x):
    return Batch(x=x, labels=None, index=torch.arange(len(x)), start=0, joint=len(x), pass_end=False)


SHARES = rows(torch.tensor([[0.5], [0.0], [3.0], [1.0], [0.5]], dtype=torch.float64))  # their mean is 1


class Point(nn.Module):
    def __init__(self, *values):
        super().__init__()
        self.at = nn.Parameter(torch.tensor(values, dtype=torch.float64))


def quadratic(rule, lr=1.0, optimizer=SGD):
    """x descends ½xᵀPx + xᵀAy, y descends ½yᵀQy − xᵀAy; rows scale the costs, by 1 in the mean."""
    x, y = Point(1.0, -2.0, 0.5), Point(0.3, 1.0, -1.0)
    first = lambda rows, at: {"f": rows.x[:, 0] * (0.5 * x.at @ P @ x.at + x.at @ A @ y.at)}  # noqa: E731
    second = lambda rows, at: {"f": rows.x[:, 0] * (0.5 * y.at @ Q @ y.at - x.at @ A @ y.at)}  # noqa: E731
    moves = [Move(name="x", players=["x"], cost=first), Move(name="y", players=["y"], cost=second)]
    players = [Player(name=n, module=m, optimizer=optimizer(lr=lr)) for n, m in (("x", x), ("y", y))]
    return Game(players, [Round(*moves, rule=rule)]), x, y


def where(x, y):
    return torch.cat([x.at, y.at]).detach().clone()


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("gamma", [0.0, 0.1, 2.0])
def test_consensus_adds_the_gradient_of_half_the_squared_field(gamma, parts):
    game, x, y = quadratic(consensus(gamma))
    before = where(x, y)
    game.step(lambda k: SHARES, Clock(), Table(micro_batches=parts))
    v = JACOBIAN @ before
    assert torch.allclose(before - where(x, y), v + gamma * JACOBIAN.T @ v, rtol=1e-12)


def test_the_field_alone_is_pulled_back():
    game, x, y = quadratic(half_squared_field)
    before = where(x, y)
    game.step(lambda k: SHARES, Clock())
    assert torch.allclose(before - where(x, y), JACOBIAN.T @ JACOBIAN @ before, rtol=1e-12)


def test_consensus_scales_a_lazy_cost_in_the_field_and_in_its_jacobian():
    point = Point(2.0)
    cost = lambda rows, at: {"f": 0.5 * point.at.square()}  # noqa: E731
    move = Move(name="m", players=["p"], cost=cost, every=4)
    game = Game([Player(name="p", module=point, optimizer=SGD(lr=1.0))], [Round(move, rule=consensus(0.25))])
    game.step(lambda k: SHARES, Clock())
    assert point.at.item() == pytest.approx(2.0 - (4 * 2.0 + 0.25 * 4 * 4 * 2.0), rel=1e-12)


def test_extragradient_on_a_quadratic_game():
    game, x, y = quadratic(extragradient, lr=0.05)
    before = where(x, y)
    game.step(lambda k: SHARES, Clock(), Table(micro_batches=2))
    ahead = before - 0.05 * JACOBIAN @ before
    assert torch.allclose(where(x, y), before - 0.05 * JACOBIAN @ ahead, rtol=1e-12)


class Normed(nn.Module):
    """A layer, batch norm, a layer."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()

    def forward(self, x):
        return self.layers(x)


def normed(rule):
    torch.manual_seed(0)
    module = Normed()
    move = Move(name="m", players=["p"], cost=lambda rows, at: {"c": (module(rows.x) - 2).square().mean(1)})
    return Game([Player(name="p", module=module, optimizer=Adam(lr=0.05))], [Round(move, rule=rule)]), module


def only_move(game):
    (round_,) = game.rounds
    assert isinstance(round_, Round)
    return round_.moves[0]


def remembered(game, module):
    memory = [v.clone() for state in game.optimizers["p"].state.values() for v in state.values()]
    return [v.detach().clone() for v in module.state_dict().values()] + memory


@pytest.mark.parametrize("steps_before", [0, 2])
def test_after_a_look_ahead_all_is_as_before(steps_before):
    game, module = normed(leave)
    for step in range(steps_before):
        game.step(lambda k: SHARES, Clock(step=step))
    play = Play([(0, only_move(game))], Turn(game, SHARES, Clock(step=9), (9,), Table()))
    gradients = play.gradients()
    before = remembered(game, module)
    with play.ahead(gradients):
        play.gradients()
        inside = remembered(game, module)
    after = remembered(game, module)
    assert not all(torch.equal(a, b) for a, b in zip(before, inside))
    assert len(before) == len(after)
    assert all(torch.equal(a, b) for a, b in zip(before, after))


def test_a_look_ahead_is_taken_back_when_it_fails():
    game, module = normed(leave)
    play = Play([(0, only_move(game))], Turn(game, SHARES, Clock(), (0,), Table()))
    gradients = play.gradients()
    before = remembered(game, module)
    with pytest.raises(KeyError), play.ahead(gradients):
        raise KeyError
    assert all(torch.equal(a, b) for a, b in zip(before, remembered(game, module), strict=True))


@pytest.mark.parametrize("rule", [leave, extragradient, consensus(0.1)])
def test_whatever_the_rule_buffers_and_optimiser_advance_once_a_step(rule):
    game, module = normed(rule)
    batch_mean = module.layers[0](SHARES.x).mean(0).detach()
    game.step(lambda k: SHARES, Clock())
    norm = module.layers[1]
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.num_batches_tracked == 1
    assert torch.allclose(norm.running_mean, 0.1 * batch_mean, rtol=1e-12)
    assert {int(state["step"]) for state in game.optimizers["p"].state.values()} == {1}
