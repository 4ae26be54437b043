"""∇½‖v‖² of a real game, exact: against central differences of ½‖v‖², whatever stands beside the objective."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from simulacra.data import Spec
from simulacra.data.batch import Batch
from simulacra.game import Clock, Play, Table
from simulacra.play import Turn
from simulacra.recipes import find

SPEC = Spec(kind="vector", shape=(2,), classes=None)
SMALL = {"latent": "2", "width": "3", "batch": "6", "activation": "tanh", "turns": "simultaneous", "rule": "consensus"}
OPTIONS = {
    "bare": {},
    "relativistic": {"objective": "relativistic"},
    "r1": {"r1": "10", "r1_every": "1"},
    "lazy r2": {"r2": "10", "r1_every": "4"},
    "gradient penalty": {"objective": "wasserstein", "gradient_penalty": "10"},
    "dragan": {"dragan": "10"},
    "orthonormal": {"orthonormal": "0.1", "orthogonal": "0.1"},
    "unrolled": {"unrolled": "3", "unrolled_rate": "0.5"},
    "feature matching": {"feature_matching": "1"},
}


def play(options: dict[str, str]) -> Play:
    """The first round of a tiny *gan* on fixed rows, in float64."""
    kind = find("gan")
    torch.manual_seed(0)
    game = kind.build(SPEC, 100, kind.options().with_overrides(SMALL | options, "gan")).stages[0].game
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    rows = Batch(x=x, labels=None, index=torch.arange(6), start=0, joint=6, pass_end=False)
    return Play(list(enumerate(game.rounds[0].moves)), Turn(game, rows, Clock(), (0,), Table()))


def vector(round_: Play, gradients: dict[str, list[Tensor | None]]) -> Tensor:
    """All gradients as one vector, absent ones as zeros."""
    parameters, found = round_.game.parameters(round_.names), [g for name in round_.names for g in gradients[name]]
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found)])


def slopes(round_: Play) -> Tensor:
    """Central differences of ½‖v‖² by every parameter."""
    found, step = [], 1e-6
    for parameter in round_.game.parameters(round_.names):
        entries = parameter.data.view(-1)
        for k in range(len(entries)):
            ends = []
            for shift in (step, -step):
                entries[k] += shift
                ends.append(0.5 * vector(round_, round_.gradients()).square().sum())
                entries[k] -= shift
            found.append((ends[0] - ends[1]) / (2 * step))
    return torch.stack(found)


@pytest.fixture
def float64() -> Iterator[None]:
    """Inside, numbers are in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_the_pullback_of_the_field_is_the_slope_of_half_its_square(options, float64):
    round_ = play(options)
    found, expected = vector(round_, round_.pullback(round_.gradients())), slopes(round_)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * float(expected.norm()))
