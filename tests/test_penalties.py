"""Penalties against critics whose gradient is known."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from simulacra.penalties.gradient import r1, squared_gradient

X = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 1)).double()


class Quadratic(nn.Module):
    """½ xᵀ A x, whose gradient is A x for a symmetric A."""

    def __init__(self):
        super().__init__()
        a = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.a = nn.Parameter(a + a.T)

    def forward(self, x):
        flat = x.flatten(1)
        return 0.5 * (flat @ self.a * flat).sum(1)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 10.0])
def test_r1_of_a_linear_critic_is_half_gamma_times_its_squared_weight(gamma):
    critic = linear()
    penalty = r1(critic, X, gamma)
    expected = 0.5 * gamma * critic[1].weight.square().sum()
    assert penalty.shape == (6,)
    assert torch.allclose(penalty, expected.expand(6), rtol=1e-12)
    (slope,) = torch.autograd.grad(penalty.mean(), critic[1].weight)
    assert torch.allclose(slope, gamma * critic[1].weight, rtol=1e-12)


def test_the_squared_gradient_of_a_quadratic_critic():
    critic = Quadratic()
    found = squared_gradient(critic, X)
    slopes = X.flatten(1) @ critic.a
    assert torch.allclose(found, slopes.square().sum(1), rtol=1e-12)
    (found_slope,) = torch.autograd.grad(found.sum(), critic.a)
    # d/dA of xᵀ½(A + Aᵀ) · ½(A + Aᵀ)x at a symmetric A
    outer = slopes.T @ X.flatten(1)
    assert torch.allclose(found_slope, outer + outer.T, rtol=1e-10)


def test_the_penalty_neither_touches_the_data_nor_asks_for_its_gradient():
    x = X.clone()
    r1(linear(), x, 1.0).mean().backward()
    assert not x.requires_grad
    assert x.grad is None
    assert torch.equal(x, X)


def test_the_penalty_is_computed_in_float32_inside_autocast():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))
    x = X.float()
    exact = r1(critic, x, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert critic(x).dtype == torch.bfloat16
        found = r1(critic, x, 1.0)
    assert found.dtype == torch.float32
    assert torch.equal(found, exact)


def test_the_penalty_advances_no_buffer():
    torch.manual_seed(0)
    critic = nn.Sequential(
        nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Flatten(), spectral_norm(nn.Linear(12, 1))
    ).double()
    before = {name: value.clone() for name, value in critic.named_buffers()}
    r1(critic, X, 1.0).mean().backward()
    assert before
    assert all(torch.equal(value, before[name]) for name, value in critic.named_buffers())
    assert all(p.grad is not None for name, p in critic.named_parameters() if name.endswith(("weight", "original")))


def test_the_penalty_agrees_with_finite_differences():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    step = 1e-5
    slopes = [
        (critic(X + step * e) - critic(X - step * e)).squeeze(1) / (2 * step) for e in torch.eye(4).view(4, 1, 2, 2)
    ]
    assert torch.allclose(squared_gradient(critic, X), torch.stack(slopes).square().sum(0), rtol=1e-7)
