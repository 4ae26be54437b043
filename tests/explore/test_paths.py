"""Ways between latents, against geometry."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simulacra import randomness
from simulacra.errors import UserError
from simulacra.explore.paths import linear, path, spherical
from tests.explore.linear import Linear, matrix

HALF = torch.tensor([0.5])


def test_linear_by_hand() -> None:
    found = linear(torch.tensor([[0.0, 2.0]]), torch.tensor([[4.0, 0.0]]), torch.tensor([0.0, 0.25, 1.0]))
    assert found[:, 0].tolist() == [[0.0, 2.0], [1.0, 1.5], [4.0, 0.0]]


def test_spherical_by_hand() -> None:
    # from (2, 0) to (0, 2) by thirds of a right angle: 2 (cos 30°, sin 30°) = (√3, 1)
    found = spherical(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([0.0, 1 / 3, 1.0]))
    expected = torch.tensor([[2.0, 0.0], [3**0.5, 1.0], [0.0, 2.0]])
    assert torch.allclose(found[:, 0], expected, atol=1e-6)


@given(st.integers(2, 40), st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_equal_lengths_stay_and_the_angle_is_shared(width: int, seed: int, share: float) -> None:
    ends = randomness.sample_normal(2, width, seed=seed).double()
    a, b = (3.0 * end / end.norm() for end in ends)
    point = spherical(a[None], b[None], torch.tensor([share]).double())[0, 0]
    angle = math.acos(max(-1.0, min(1.0, float(a @ b) / 9.0)))
    assert point.norm().item() == pytest.approx(3.0, rel=1e-6)
    to_a = 2.0 * math.asin(min(1.0, (point - a).norm().item() / 6.0))
    assert to_a == pytest.approx(share * angle, abs=1e-5)


def test_lengths_change_evenly() -> None:
    found = spherical(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 5.0]]), torch.tensor([0.0, 0.25, 0.5, 1.0]))
    assert torch.allclose(found[:, 0].norm(dim=1), torch.tensor([1.0, 2.0, 3.0, 5.0]))


def test_parallel_ends_and_a_zero_go_straight() -> None:
    a = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    b = torch.tensor([[3.0, 3.0], [4.0, 2.0], [0.0, 0.0]])
    assert torch.allclose(spherical(a, b, HALF)[0], torch.tensor([[2.0, 2.0], [2.0, 1.0], [0.0, 0.0]]))


@pytest.mark.parametrize("tilt", [0.0, 1e-5])
def test_opposite_ends_go_around(tilt: float) -> None:
    a, b = torch.tensor([[3.0, 0.5, -1.0]]), torch.tensor([[-6.0, -1.0 + tilt, 2.0]])
    found = spherical(a, b, torch.linspace(0, 1, 5))[:, 0]
    assert torch.allclose(found[0], a[0])
    assert torch.allclose(found[-1], b[0])
    long = a.norm().item()
    assert torch.allclose(found.norm(dim=1), long * torch.tensor([1.0, 1.25, 1.5, 1.75, 2.0]), rtol=1e-4)
    quarter = (found[1:] * found[:-1]).sum(1) / (found[1:].norm(dim=1) * found[:-1].norm(dim=1))
    assert torch.allclose(quarter, torch.full((4,), 0.5**0.5), atol=1e-4)  # each step turns by 45°


def test_on_a_line_opposite_ends_meet_zero() -> None:
    assert spherical(torch.tensor([[2.0]]), torch.tensor([[-2.0]]), HALF).tolist() == [[[0.0]]]


def test_rows_do_not_touch_each_other() -> None:
    a, b = (randomness.sample_normal(5, 7, seed=seed) for seed in (0, 1))
    shares = torch.linspace(0, 1, 4)
    b[2] = -a[2]
    alone = torch.cat([spherical(a[k : k + 1], b[k : k + 1], shares) for k in range(5)], dim=1)
    assert torch.allclose(spherical(a, b, shares), alone)


class WithClass(Linear):
    """Three normal latents, and one of two classes beside them."""

    def prior(self, n: int, *, seed: int = 0, start: int = 0) -> torch.Tensor:
        z = super().prior(n, seed=seed, start=start)
        return torch.cat([z[:, :3], (z[:, 3:4] > 0).float(), (z[:, 3:4] <= 0).float()], 1)


def test_noise_turns_and_a_class_beside_it_goes_straight() -> None:
    """From (2, 0, 0 | 1, 0) to (0, 2, 0 | 0, 1), half-way: (sqrt 2, sqrt 2, 0 | 1/2, 1/2)."""
    for way in ("auto", "spherical"):
        chosen = path(WithClass(matrix(2, 4)), way)  # type: ignore[arg-type]
        assert chosen.note == "great circles in 3 of 5 latents, straight paths in the others"
        a, b = torch.tensor([[2.0, 0, 0, 1, 0]]), torch.tensor([[0.0, 2, 0, 0, 1]])
        points = chosen.between(a, b, torch.tensor([0.0, 0.5, 1.0]))[:, 0]
        assert torch.allclose(points[[0, 2]], torch.cat([a, b]), atol=1e-6)
        assert torch.allclose(points[1], torch.tensor([2**0.5, 2**0.5, 0, 0.5, 0.5]), atol=1e-6)


def test_the_path_follows_the_prior() -> None:
    normal, uniform = Linear(matrix(2, 20)), Linear(matrix(2, 20), uniform=True)
    assert path(normal) == (spherical, None)
    assert path(normal, "linear").between is linear
    chosen = path(uniform)
    assert chosen.between is linear
    assert chosen.note
    assert "no spherical symmetry" in chosen.note
    with pytest.raises(UserError, match="--path linear"):
        path(uniform, "spherical")
    with pytest.raises(UserError, match="'curved'"):
        path(normal, "curved")  # type: ignore[arg-type]
