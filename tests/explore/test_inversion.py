"""Inversion, against least squares."""

import pytest
import torch
from torch import Tensor

from simulacra import randomness
from simulacra.errors import UserError
from simulacra.explore.inversion import Inversion, InversionConfig, invert
from tests.explore.linear import Linear, LinearWithCodes, matrix


def config(**options: float) -> InversionConfig:
    return InversionConfig.read({"steps": 400, "starts": 2, "rate": 0.1} | options, "inversion")


def data(n: int, width: int = 12) -> Tensor:
    return randomness.sample_normal(n, width, seed=9)


def test_of_a_matrix_it_is_least_squares() -> None:
    model, x = Linear(matrix(12, 4), shift=0.5), data(5)
    found = invert(model, x, config())
    best = torch.linalg.lstsq(model.matrix, (x - 0.5).T).solution.T
    assert torch.allclose(found.latents, best, atol=2e-3)
    assert torch.allclose(found.images, model.decode(best), atol=5e-3)
    assert torch.allclose(found.errors, (model.decode(best) - x).square().mean(1), rtol=1e-4)


def test_pull_is_ridge_regression() -> None:
    # mean over D = 12 of (Az − x)² plus p times the mean over J = 4 of ((z − m)/s)²: solved by hand,
    # (AᵀA/12 + p S⁻²/4) z = Aᵀx/12 + p S⁻² m/4
    model, x, pull = Linear(matrix(12, 4)), data(3), 0.7
    found = invert(model, x, config(pull=pull))
    pool = model.prior(1000)
    weights, mean = pull / (4.0 * pool.std(0).square()), pool.mean(0)
    left = model.matrix.T @ model.matrix / 12 + torch.diag(weights)
    right = x @ model.matrix / 12 + weights * mean
    assert torch.allclose(found.latents, torch.linalg.solve(left, right.T).T, atol=2e-3)


def test_without_steps_it_is_the_nearest_draw() -> None:
    model, x = Linear(matrix(12, 4)), data(5)
    found = invert(model, x, config(steps=0, starts=1), seed=7)
    pool = model.prior(1000, seed=7)
    assert torch.equal(found.latents, pool[torch.cdist(x, model.decode(pool)).argmin(1)])


def test_it_is_a_function_of_the_seed_and_each_row_its_own() -> None:
    model, x = Linear(matrix(12, 4)), data(6)
    few = config(steps=5)
    first, again = (invert(model, x, few, seed=1) for _ in range(2))
    assert torch.equal(first.latents, again.latents)
    assert torch.allclose(invert(model, x[2:4], few, seed=1).latents, first.latents[2:4], atol=1e-5)
    assert not torch.allclose(invert(model, x, few, seed=2).latents, first.latents)


def test_wild_steps_are_never_worse_than_the_best_start() -> None:
    model, x = Linear(matrix(12, 4)), data(6)
    still = invert(model, x, config(steps=0, starts=1)).errors
    assert (invert(model, x, config(steps=3, starts=3, rate=1000.0)).errors <= still + 1e-6).all()


def test_a_code_is_a_start() -> None:
    model = LinearWithCodes(matrix(12, 4))
    z = model.prior(3, seed=5)
    found = invert(model, model.decode(z), config(steps=0, starts=1))
    assert torch.allclose(found.latents, z, atol=1e-4)
    assert found.errors.max() < 1e-8


def test_latents_of_a_cube_stay_in_it() -> None:
    model = Linear(torch.eye(3), uniform=True)
    x = torch.tensor([[5.0, 0.25, -5.0]])
    found = invert(model, x, config())
    assert found.latents[0].tolist() == pytest.approx([1.0, 0.25, -1.0], abs=5e-3)


def test_weights_get_no_gradient_and_blocks_do_not_matter() -> None:
    model = Linear(matrix(12, 4).requires_grad_())
    x, heard = data(300), []
    found = invert(model, x, config(steps=2, starts=1), progress=lambda done, of: heard.append((done, of)))
    assert isinstance(found, Inversion)
    assert model.matrix.grad is None
    assert not found.images.requires_grad
    assert heard == [(250, 300), (300, 300)]
    alone = invert(model, x[260:270], config(steps=2, starts=1)).latents
    assert torch.allclose(found.latents[260:270], alone, atol=1e-5)


class Closed(Linear):
    """Records no gradient."""

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z)


class Bare:
    """Decodes, and no more."""

    def decode(self, z: Tensor) -> Tensor:
        return z


def test_what_cannot_be_inverted_is_refused() -> None:
    with pytest.raises(UserError, match="lets no gradient pass"):
        invert(Closed(matrix(12, 4)), data(1), config())
    with pytest.raises(UserError, match="a prior to start from"):
        invert(Bare(), data(1), config())
    with pytest.raises(UserError, match="rows of 12 numbers, not of 5"):
        invert(Linear(matrix(12, 4)), data(1, 5), config())
    with pytest.raises(UserError, match="'rate'"):
        config(rate=0.0)
