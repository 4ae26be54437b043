"""Closed walks."""

import pytest
import torch

from simulacra.errors import UserError
from simulacra.explore.paths import linear, spherical
from simulacra.explore.walk import walk
from tests.explore.linear import Linear, matrix

MODEL = Linear(matrix(3, 50))


def test_it_stops_at_samples_and_closes() -> None:
    points = walk(MODEL, spherical, stops=4, frames=10, walks=2, seed=3)
    samples = MODEL.prior(8, seed=3)
    assert points.shape == (40, 2, 50)
    assert torch.allclose(points[::10, 0], samples[:4])
    assert torch.allclose(points[::10, 1], samples[4:])
    steps = (points.roll(-1, 0) - points).norm(dim=2)
    assert steps[-1].max() == pytest.approx(steps[0].min(), rel=0.5)  # the last step, home, is as small as the first
    assert steps.max() < 3.0  # of stops about 10 apart, in 10 steps


def test_it_rests_at_stops() -> None:
    # 3t² − 2t³ at t = 0, ¼, ½, ¾: 0, 0.15625, 0.5, 0.84375
    model = Linear(matrix(3, 1), uniform=True)
    a, b = model.prior(2, seed=1)[:, 0].tolist()
    found = walk(model, linear, stops=2, frames=4, seed=1)[:, 0, 0]
    there = [a + share * (b - a) for share in (0.0, 0.15625, 0.5, 0.84375)]
    back = [b + share * (a - b) for share in (0.0, 0.15625, 0.5, 0.84375)]
    assert torch.allclose(found, torch.tensor(there + back))


def test_it_is_a_function_of_the_seed() -> None:
    first, again, other = (walk(MODEL, spherical, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_it_stays_among_typical_latents() -> None:
    lengths = walk(MODEL, spherical, stops=8, frames=9, walks=4).norm(dim=2)
    stops = MODEL.prior(32).norm(dim=1)
    assert lengths.min() >= stops.min() - 1e-4
    assert lengths.max() <= stops.max() + 1e-4
    straight = walk(MODEL, linear, stops=8, frames=9, walks=4).norm(dim=2)
    assert straight.min() < 0.9 * stops.min()


@pytest.mark.parametrize("wrong", [{"stops": 1}, {"frames": 0}, {"walks": 0}])
def test_too_little_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match="a walk needs"):
        walk(MODEL, linear, **wrong)
