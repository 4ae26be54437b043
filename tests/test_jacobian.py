"""The Jacobian of a game's field against closed forms and, on a tiny *gan*, against finite differences."""

from math import exp
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.theory.games import ONE, dirac, game_of, product
from simulacra.data.batch import Batch
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Clock, Game, Move, Play, Player, Round, Table, leave
from simulacra.jacobian import LARGEST, at_once, eigenvalues, jacobian
from simulacra.optimizers import SGD
from simulacra.recipes import find
from simulacra.recipes.gan import GANOptions

GENERATOR = torch.Generator().manual_seed(0)
A, B, C = (torch.randn(3, 2, generator=GENERATOR, dtype=torch.float64) for _ in range(3))


def rows(x: Tensor) -> Batch:
    return Batch(x=x, labels=None, index=torch.arange(len(x)), start=0, joint=len(x), pass_end=False)


def matrix(*lines: list[float]) -> Tensor:
    return torch.tensor(lines, dtype=torch.float64)


@pytest.mark.parametrize("alternating", [False, True])
def test_the_bilinear_games_jacobian_is_a_quarter_turn(alternating):
    found = jacobian(at_once(game_of(product, leave, 0.1, (0.7, -2.0), alternating), ONE))
    assert torch.equal(found, matrix([0.0, -1.0], [1.0, 0.0]))


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (1.0, 2.0), (-0.5, 3.0)])
def test_the_dirac_gans_jacobian(x, y):
    """x moves along yσ(xy) and y, with R1, along −xσ(xy) − γy."""
    s = 1 / (1 + exp(-x * y))
    slope, gamma = s * (1 - s), 0.3
    turn = s + x * y * slope
    expected = matrix([y * y * slope, turn], [-turn, -x * x * slope - gamma])
    found = jacobian(at_once(game_of(dirac, leave, 0.1, (x, y), gamma=gamma), ONE))
    assert torch.allclose(found, expected, rtol=1e-12)


class Pair(nn.Module):
    """A player of a matrix and of a number that no cost depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.ones(3, 2, dtype=torch.float64))
        self.idle = nn.Parameter(torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize("parts", [1, 3])
def test_parameters_of_any_shape_are_flattened_in_order(parts):
    """x descends Σ ½Ax² + Bxy, y descends Σ ½Cy² in turn with its own cost twice as heavy; rows weigh 1 in the mean."""
    x, y = Pair(), Pair()
    moves = [
        Move(name="y", players=["y"], cost=lambda rows, at: {"c": rows.x[:, 0] * (0.5 * C * y.at**2).sum()}, every=2),
        Move(name="x", players=["x"], cost=lambda rows, at: {"c": (0.5 * A * x.at**2 + B * x.at * y.at).sum()}),
    ]
    game = Game([Player(name=n, module=m, optimizer=SGD()) for n, m in (("x", x), ("y", y))], [*map(Round, moves)])
    play = at_once(game, rows(matrix([0.5], [2.0], [0.5])), table=Table(micro_batches=parts))
    assert play.names == ["y", "x"]
    expected = torch.zeros(14, 14, dtype=torch.float64)
    expected[:6, :6] = -2 * C.flatten().diag()
    expected[7:13, 7:13], expected[7:13, :6] = -A.flatten().diag(), -B.flatten().diag()
    assert torch.allclose(jacobian(play), expected, rtol=1e-12)


def tiny(**options: Any) -> Game:
    """Networks of two and three units of the recipe *gan* on points, in float64."""
    torch.manual_seed(0)
    chosen = GANOptions(latent=2, width=2, discriminator_width=3, depth=1, activation="tanh", **options)
    game = find("gan").build(Spec(kind="vector", shape=(2,), classes=None), 100, chosen).stages[0].game
    for player in game.players.values():
        player.module.double()
    return game


def vector(play: Play) -> Tensor:
    """The field, minus all gradients, `[P]`."""
    found = play.gradients()
    return -torch.cat([g.flatten() for name in play.names for g in found[name] if g is not None])


def differences(play: Play) -> Tensor:
    """∂ field / ∂ parameters by central differences, `[P, P]`."""
    columns, step = [], 1e-5
    for parameter in play.game.parameters(play.names):
        entries = parameter.data.view(-1)
        for k in range(len(entries)):
            ends = []
            for shift in (step, -2 * step):
                entries[k] += shift
                ends.append(vector(play))
            entries[k] += step
            columns.append((ends[0] - ends[1]) / (2 * step))
    return torch.stack(columns, 1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"turns": "simultaneous", "objective": "relativistic"},
        {"objective": "wasserstein", "gradient_penalty": 10.0},
        {"r1": 0.5, "r1_every": 4, "unrolled": 2},
        {"r2": 10.0, "r1_every": 4},
        {"dragan": 10.0},
        {"orthonormal": 0.1, "orthogonal": 0.1},
        {"unrolled": 3, "unrolled_rate": 0.5},
        {"unrolled": 2, "unrolled_rate": 0.5, "objective": "minimax"},
        {"feature_matching": 1.0},
    ],
    ids=lambda options: ", ".join(options) or "gan",
)
def test_a_real_games_jacobian_is_that_of_finite_differences(options):
    """Whatever stands beside the objective: so ∇½‖v‖², a product with it, is exact too."""
    game = tiny(**options)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    play = at_once(game, rows(x), Clock(seed=3, step=5))
    before = [parameter.detach().clone() for parameter in game.parameters(play.names)]
    found = jacobian(play)
    assert found.shape == (25, 25)  # 2·3 + 2·3 of G, 3·3 + 4 of D
    assert not found.requires_grad
    torch.testing.assert_close(found, differences(play), rtol=1e-6, atol=1e-8)
    assert all(torch.allclose(a, b) for a, b in zip(before, game.parameters(play.names)))
    assert all(parameter.grad is None for parameter in game.parameters(play.names))


def test_too_large_a_game_is_refused_by_its_size():
    kind, spec = find("gan"), Spec(kind="vector", shape=(2,), classes=None)
    game = kind.build(spec, 100, kind.options()).stages[0].game
    size = sum(parameter.numel() for parameter in game.parameters(["generator", "discriminator"]))
    with pytest.raises(UserError, match=f"the game has {size} parameters, its Jacobian takes at most {LARGEST}"):
        jacobian(at_once(game, rows(torch.zeros(4, 2))))


def test_eigenvalues_come_with_the_largest_real_part_first():
    """A turn by ±2 that grows by 1, between −3 and 4."""
    blocks = torch.block_diag(matrix([-3.0]), matrix([1.0, -2.0], [2.0, 1.0]), matrix([4.0]))
    found = eigenvalues(blocks.float())
    assert found.dtype == torch.complex128
    assert found.real.tolist() == pytest.approx([4.0, 1.0, 1.0, -3.0])
    assert sorted(found.imag.tolist()) == pytest.approx([-2.0, 0.0, 0.0, 2.0])
