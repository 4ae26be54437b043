"""Principal directions, against the singular value decomposition."""

import pytest
import torch
from torch import Tensor

from simulacra.errors import UserError
from simulacra.explore.directions import jacobian, moved, principal_directions
from tests.explore.linear import Linear, matrix


class Squares(Linear):
    """decode(z) = z² element by element, whose Jacobian is diag(2 z)."""

    def decode(self, z: Tensor) -> Tensor:
        return z.square()


def test_of_a_matrix_they_are_its_right_singular_vectors() -> None:
    model = Linear(matrix(30, 6).double(), shift=2.0)
    found = principal_directions(model, model.prior(3).double(), 4)
    _, values, rows = torch.linalg.svd(model.matrix)
    assert torch.allclose((found.vectors @ rows[:4].T).abs(), torch.eye(4).double(), atol=1e-6)
    assert torch.allclose(found.strengths, values[:4].square())
    assert found.share == pytest.approx((values[:4].square().sum() / values.square().sum()).item())


def test_float32_does() -> None:
    model = Linear(matrix(30, 6))
    found = principal_directions(model, model.prior(3), 2)
    values = torch.linalg.svdvals(model.matrix.double())
    assert torch.allclose(found.strengths, values[:2].square(), rtol=1e-3)


def test_products_are_averaged_over_latents() -> None:
    # JᵀJ = diag(4 z²): at (1, 0) diag(4, 0), at (0, 3) diag(0, 36); the mean is diag(2, 18), the share of one 18/20
    model = Squares(torch.eye(2).double())
    found = principal_directions(model, torch.tensor([[1.0, 0.0], [0.0, 3.0]]).double(), 1)
    assert torch.allclose(found.vectors, torch.tensor([[0.0, 1.0]]).double(), atol=1e-6)
    assert found.strengths.item() == pytest.approx(18.0)
    assert found.share == pytest.approx(0.9)


def test_central_differences_are_exact_for_squares() -> None:
    # ((z + h)² − (z − h)²) / 2h = 2z for every h
    found = jacobian(Squares(torch.eye(2).double()), torch.tensor([1.5, -2.0]).double(), 0.3)
    assert torch.allclose(found, torch.diag(torch.tensor([3.0, -4.0])).double())


def test_signs_are_settled() -> None:
    model = Linear(matrix(9, 5))
    vectors = principal_directions(model, model.prior(1), 5).vectors
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()
    assert torch.allclose(vectors @ vectors.T, torch.eye(5).double(), atol=1e-6)


def test_moves_by_hand() -> None:
    z, ways = torch.tensor([1.0, 1.0]), torch.eye(2)
    lengths = torch.tensor([[-1.0, 2.0], [0.0, 0.0]])
    assert moved(z, ways, lengths).tolist() == [[[0.0, 1.0], [1.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]]]


def test_what_has_none_is_refused() -> None:
    model = Linear(matrix(4, 3))
    for count in (0, 4):
        with pytest.raises(UserError, match="1 to 3 directions"):
            principal_directions(model, model.prior(2), count)
    for constant in (0.0, float("nan")):
        flat = Linear(torch.full((4, 3), constant))
        with pytest.raises(UserError, match="does not change"):
            principal_directions(flat, flat.prior(2), 1)
