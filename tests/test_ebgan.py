"""Autoencoding discriminators: energies, the pulling-away term and the balance, by hand."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from simulacra.data.batch import Batch
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Clock, Table
from simulacra.models.ebgan import BoundaryAdversary, EnergyAdversary, error, pulling_away
from simulacra.recipes import find


def test_the_two_errors_by_hand():
    """Differences (3, −4): norm 5, mean of absolutes 3.5."""
    x, other = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    assert error(x, other, "norm").item() == 5.0
    assert error(x, other, "mean").item() == 3.5


def test_pulling_away_by_hand():
    """Codes (1, 0), (0, 2) and (3, 3): squared cosines of the pairs 0, ½, ½, each twice: 2/6 = ⅓."""
    codes = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    assert pulling_away(codes).item() == pytest.approx(1 / 3)
    assert pulling_away(torch.eye(4)).item() == pytest.approx(0.0, abs=1e-7)
    assert pulling_away(torch.arange(1.0, 4.0)[:, None] * torch.tensor([[2.0, 1.0]])).item() == pytest.approx(1.0)
    assert pulling_away(torch.zeros(3, 2)).item() == 0.0  # codes without direction are orthogonal to all
    with pytest.raises(UserError, match="sees one"):
        pulling_away(torch.ones(1, 3))


class Told(SimpleNamespace):
    """What a cost is told, written down."""

    def __init__(self, **state):
        super().__init__(states={name: torch.tensor(value) for name, value in state.items()}, written={}, watched={})

    def state(self, name):
        return self.states[name]

    def write(self, name, value):
        self.written[name] = value.item()

    def watch(self, name, value):
        self.watched[name] = float(value.mean())


class Halving(nn.Module):
    """Reconstructs half of what it sees."""

    def forward(self, x):
        return x / 2, x


FAKE = SimpleNamespace(generate=lambda at: torch.tensor([[6.0, 8.0], [0.0, 2.0]]))
REAL = SimpleNamespace(x=torch.tensor([[0.0, 4.0], [6.0, 8.0]]))


def test_the_energy_game_by_hand():
    """Energies are half norms: data 2 and 5, samples 5 and 1; margin 4 leaves 0 and 3 to push."""
    costs, at = EnergyAdversary(FAKE, Halving(), margin=4.0, pull=0.1), Told()
    terms = costs.discriminate(REAL, at)
    assert terms["real"].tolist() == [2.0, 5.0]
    assert terms["fake"].tolist() == [0.0, 3.0]
    terms = costs.generate(REAL, at)
    assert terms["fool"].tolist() == [5.0, 1.0]
    assert terms["pull"].item() == pytest.approx(0.1 * 0.8**2)
    assert "pull" not in EnergyAdversary(FAKE, Halving(), 4.0, 0.0).generate(REAL, at)


def test_the_boundary_game_by_hand():
    """Errors are half the mean entries: data 1 and 3.5, mean 2.25; samples 3.5 and 0.5, mean 2. γ = ½: the balance is
    1.125 − 2 = −0.875, so k falls by 0.0875 and M = 2.25 + 0.875."""
    costs = BoundaryAdversary(FAKE, Halving(), gamma=0.5, rate=0.1)
    at = Told(k=0.4)
    terms = costs.discriminate(REAL, at)
    assert terms["real"].tolist() == [1.0, 3.5]
    assert terms["fake"].tolist() == pytest.approx([-1.4, -0.2])
    assert at.written == {"real": 2.25}
    at = Told(k=0.4, real=2.25)
    assert costs.generate(REAL, at)["fool"].tolist() == [3.5, 0.5]
    assert at.written["k"] == pytest.approx(0.4 - 0.0875)
    assert at.watched["M_global"] == pytest.approx(3.125)
    costs.generate(REAL, low := Told(k=0.01, real=2.25))
    assert low.written["k"] == 0.0


def test_k_rises_while_samples_are_reconstructed_too_well():
    """At the start a generator's grey images are easily reconstructed: k must leave 0, and is in the game's state."""
    kind, spec = find("began"), Spec(kind="image", shape=(1, 8, 8), classes=None)
    torch.manual_seed(0)
    plan = kind.build(spec, 100, kind.options().with_overrides({"width": 4, "balance_rate": 0.1}, "began"))
    game = plan.stages[0].game
    x = torch.rand(16, 1, 8, 8) * 2 - 1
    rows = Batch(x=x, labels=None, index=torch.arange(16), start=0, joint=16, pass_end=False)
    for step in range(20):
        terms = game.step(lambda k: rows, Clock(step=step), Table())
    assert 0 < game.state["k"].item() <= 1
    assert math.isfinite(terms["generate/M_global"])


def test_convolutions_refuse_points():
    kind = find("ebgan")
    with pytest.raises(UserError, match="network mlp"):
        kind.build(Spec(kind="vector", shape=(2,), classes=None), 100, kind.options(network="dcgan"))
