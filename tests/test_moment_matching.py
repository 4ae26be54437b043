"""The maximum mean discrepancy: the direct formula, finite differences, its memory, and equal laws."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from simulacra.costs.matching import mean_squared_distance, mmd2, root_mmd

SIGMAS = (0.3, 1.0, 4.0)


def rows(n: int, d: int = 3, seed: int = 0, shift: float = 0.0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """k `[N, M]`, from all differences `[N, M, D]`."""
    squares = (x[:, None] - y[None]).square().sum(2)
    return sum(((-squares / (2 * sigma)).exp() for sigma in SIGMAS), torch.zeros_like(squares))


def direct(x: Tensor, y: Tensor, unbiased: bool = False) -> Tensor:
    if not unbiased:
        return kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean()
    apart = [(k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1)) for k in (kernel(x, x), kernel(y, y))]
    return apart[0] + apart[1] - 2 * kernel(x, y).mean()


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("tile", [1024, 7, 4, 1])
def test_it_is_the_direct_formula_and_so_is_its_gradient(unbiased: bool, tile: int) -> None:
    x, y = rows(13, seed=1).requires_grad_(), rows(9, seed=2, shift=100.5).sub(100).requires_grad_()
    found, wanted = mmd2(x, y, SIGMAS, unbiased=unbiased, tile=tile), direct(x, y, unbiased)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-13)
    for ours, theirs in zip(torch.autograd.grad(found, (x, y)), torch.autograd.grad(wanted, (x, y))):
        assert torch.allclose(ours, theirs, atol=1e-14, rtol=1e-10)


@pytest.mark.parametrize("function", [mmd2, root_mmd, lambda *given, **how: mmd2(*given, unbiased=True, **how)])
def test_the_gradient_is_that_of_finite_differences(function) -> None:
    x, y = rows(6, seed=3).requires_grad_(), rows(5, seed=4, shift=0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: function(a, b, SIGMAS, tile=4), (x, y))
    assert torch.autograd.gradcheck(lambda a: function(a, y.detach(), SIGMAS, tile=4), (x,))


def test_what_is_kept_for_the_backward_pass_grows_with_the_rows_alone() -> None:
    """No kernel matrix `[N, N]` and no difference `[N, N, D]` among it: only gradients in the shape of x."""
    sizes: dict[int, int] = {}
    for n in (50, 100, 200):
        x, y, kept = rows(n, seed=5).requires_grad_(), rows(n, seed=6), []
        with saved_tensors_hooks(lambda t, kept=kept: kept.append(t.numel()) or t, lambda t: t):
            root_mmd(x, y, SIGMAS, tile=32)
        assert max(kept) == x.numel()
        sizes[n] = sum(kept)
    assert all(b < 2.05 * a for a, b in pairwise(sizes.values()))


def test_far_from_the_origin_no_digits_are_lost() -> None:
    x, y = rows(20, seed=7).float(), rows(20, seed=8, shift=0.3).float()
    near = mmd2(x, y, SIGMAS)
    assert mmd2(x + 64, y + 64, SIGMAS).item() == pytest.approx(near.item(), abs=2e-5)


def test_the_mean_squared_distance_by_hand() -> None:
    """Of a right triangle with legs of 2: (4 + 4 + 8) / 3."""
    assert mean_squared_distance(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])).item() == pytest.approx(16 / 3)
    with pytest.raises(ValueError, match="two are needed"):
        mean_squared_distance(torch.zeros(1, 2))


def test_bfloat16_is_widened() -> None:
    x, y = rows(8, seed=9).bfloat16(), rows(8, seed=10).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = mmd2(x, y, SIGMAS)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(direct(x.double(), y.double()).item(), abs=1e-6)


def test_of_equal_laws_it_is_near_zero_and_of_others_it_is_not() -> None:
    same = torch.stack([mmd2(rows(60, seed=k), rows(60, seed=1000 + k), SIGMAS, unbiased=True) for k in range(200)])
    error = same.std() / len(same) ** 0.5
    assert abs(same.mean()) < 3 * error
    assert error < 2e-3
    moved = mmd2(rows(60, seed=1), rows(60, seed=2, shift=1.0), SIGMAS, unbiased=True)
    assert moved > 10 * same.std()


def test_of_a_set_and_itself_it_is_zero() -> None:
    x = rows(30)
    assert abs(mmd2(x, x.clone(), SIGMAS).item()) < 1e-14
    assert root_mmd(x, x.clone(), SIGMAS).item() <= 1e-6


def test_it_has_no_second_derivative_and_says_so() -> None:
    x = rows(5).requires_grad_()
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(mmd2(x, rows(5, seed=1), SIGMAS), x, create_graph=True)


@pytest.mark.parametrize(
    ("x", "y", "sigmas", "match"),
    [
        (rows(3), rows(3, d=2), SIGMAS, r"\[3, 3\] and \[3, 2\]"),
        (rows(3), rows(3), (), "bandwidths"),
        (rows(3), rows(3), (1.0, -1.0), "bandwidths"),
        (rows(1), rows(3), SIGMAS, "each side needs 2"),
    ],
)
def test_what_cannot_be_matched_is_refused(x: Tensor, y: Tensor, sigmas: tuple[float, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        mmd2(x, y, sigmas, unbiased=True)
