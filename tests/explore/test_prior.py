"""What priors are like, from their draws."""

import pytest
import torch

from simulacra import randomness
from simulacra.explore.prior import draws, is_spherical, spherical_part, spread
from tests.explore.linear import Linear, matrix


@pytest.mark.parametrize("width", [2, 3, 20, 100, 512])
def test_normal_priors_are_spherical_and_uniform_ones_are_not(width: int) -> None:
    assert is_spherical(draws(Linear(matrix(2, width))))
    assert not is_spherical(draws(Linear(matrix(2, width), uniform=True)))


@pytest.mark.parametrize("width", [2, 3, 100])
def test_a_uniform_law_on_a_sphere_is_spherical(width: int) -> None:
    z = draws(Linear(matrix(2, width)))
    assert is_spherical(7.0 * z / z.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_of_noise_beside_a_class_and_codes_the_noise_alone_is_spherical(classes: int) -> None:
    z = randomness.sample_normal(2000, 62, seed=1)
    hot = torch.nn.functional.one_hot(torch.arange(2000) % classes, classes)
    codes = 2.0 * randomness.sample_uniform(2000, 2, seed=2) - 1.0
    both = torch.cat([z, hot, codes], dim=1)
    assert not is_spherical(both)
    assert spherical_part(both).tolist() == [True] * 62 + [False] * (classes + 2)


def test_all_turns_or_nothing_where_one_law_rules() -> None:
    z = randomness.sample_normal(2000, 2, seed=1)
    assert spherical_part(z / z.norm(dim=1, keepdim=True)).all()  # though no coordinate of it is normal
    assert not spherical_part(randomness.sample_uniform(2000, 20, seed=1)).any()
    assert not spherical_part(torch.zeros(2000, 4)).any()


def test_one_number_or_nothing_cannot_turn() -> None:
    assert not is_spherical(randomness.sample_normal(2000, 1, seed=0))
    assert not is_spherical(torch.zeros(2000, 4))


def test_spread_along_a_direction() -> None:
    # z = (1, 0), (−1, 0), (0, 3), (0, −3): variances 2/3 and 18/3 = 6; along (1, 1)/√2 it is (2/3 + 6)/2 = 10/3
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, -3.0]])
    way = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5**0.5, 0.5**0.5]], dtype=torch.float64)
    assert torch.allclose(spread(z, way).square(), torch.tensor([2 / 3, 6.0, 10 / 3]).double())
