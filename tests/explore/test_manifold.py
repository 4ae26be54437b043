"""Planes of latents."""

import pytest
import torch

from simulacra.errors import UserError
from simulacra.explore.manifold import manifold
from tests.explore.linear import Linear, matrix

NORMAL, CUBE = Linear(matrix(3, 4)), Linear(matrix(3, 4), uniform=True)


def test_equal_areas_are_equally_likely() -> None:
    plane = manifold(NORMAL, 4)
    expected = torch.special.ndtri(torch.tensor([0.125, 0.375, 0.625, 0.875]))
    assert plane.shape == (4, 4, 4)
    assert torch.allclose(plane[:, 0, 0], expected, atol=0.03)  # a column along the first axis
    assert torch.allclose(plane[0, :, 1], expected.flip(0), atol=0.03)  # and a row down the second
    assert torch.allclose(manifold(CUBE, 4)[:, 0, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]), atol=0.03)


def test_only_two_latents_vary_and_the_others_are_at_their_median() -> None:
    plane = manifold(NORMAL, 3, (2, 0))
    assert plane[..., 2].var(0).min() > 0.1
    assert plane[..., 2].var(1).max() == 0
    assert plane[..., 0].var(1).min() > 0.1
    assert plane[..., [1, 3]].abs().max() < 0.03
    assert plane[..., [1, 3]].flatten(0, 1).var(0).max() == 0


@pytest.mark.parametrize(
    ("side", "axes", "said"), [(1, (0, 1), "2 columns"), (3, (0, 4), "0 to 3"), (3, (1, 1), "0 to 3")]
)
def test_what_cannot_be_drawn_is_refused(side: int, axes: tuple[int, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        manifold(NORMAL, side, axes)
