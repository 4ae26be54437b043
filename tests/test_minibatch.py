"""Minibatch discrimination and deviation against their formulas, worked by hand and row by row."""

from math import exp, prod, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra.networks import minibatch
from simulacra.networks.minibatch import MinibatchDeviation, MinibatchDiscrimination, closeness


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_pairs(m):
    """Σ_j exp(−‖m_ib − m_jb‖₁) by broadcasting over all pairs."""
    return (-(m[:, None] - m[None]).abs().sum(3)).exp().sum(1)


def test_closeness_by_hand():
    # One kernel of two numbers; distances |1|+|2| = 3 between rows 0 and 1, 0 between 0 and 2. Each row counts itself.
    m = torch.tensor([[[0.0, 0.0]], [[1.0, -2.0]], [[0.0, 0.0]]])
    expected = [[2 + exp(-3)], [1 + 2 * exp(-3)], [2 + exp(-3)]]
    torch.testing.assert_close(closeness(m), torch.tensor(expected))


@pytest.mark.parametrize("at_once", [1, 40, 1 << 24])
def test_blocks_change_nothing(at_once, monkeypatch):
    monkeypatch.setattr(minibatch, "_NUMBERS_AT_ONCE", at_once)
    m, weights = drawn(5, 3, 2).requires_grad_(), drawn(5, 3, seed=1)
    torch.testing.assert_close(closeness(m), by_pairs(m))
    (ours,) = torch.autograd.grad((weights * closeness(m)).sum(), m)
    (plain,) = torch.autograd.grad((weights * by_pairs(m)).sum(), m)
    torch.testing.assert_close(ours, plain)


def test_derivatives_of_both_orders():
    m = drawn(4, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(closeness, m)
    assert torch.autograd.gradgradcheck(closeness, m)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 7), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_features_come_first_then_one_number_per_kernel(n, inputs, kernels, dimensions):
    layer, x = MinibatchDiscrimination(inputs, kernels, dimensions), drawn(n, inputs).float()
    y = layer(x)
    assert y.shape == (n, inputs + kernels)
    assert torch.equal(y[:, :inputs], x)
    m = (x @ layer.project.weight.T).view(n, kernels, dimensions)
    torch.testing.assert_close(y[:, inputs:], by_pairs(m))


def test_equal_rows_are_as_close_as_can_be_and_far_ones_alone():
    layer = MinibatchDiscrimination(3, 2, 4)
    x = torch.ones(6, 3)
    torch.testing.assert_close(layer(x)[:, 3:], torch.full((6, 2), 6.0))
    torch.testing.assert_close(layer(1e4 * drawn(6, 3).float())[:, 3:], torch.ones(6, 2))


def test_discrimination_counts_in_float32_in_autocast():
    layer, x = MinibatchDiscrimination(3, 2, 4), drawn(4, 3).float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = layer(x)
    assert torch.equal(inside, layer(x))


def test_deviation_by_hand():
    # Groups of two: features (1, 3) and (0, 4) deviate by 1 and 2, mean 1.5; (5, 5) and (0, 1) by 0 and 0.5, mean 0.25.
    x = torch.tensor([[1.0, 0.0], [3.0, 4.0], [5.0, 0.0], [5.0, 1.0]], dtype=torch.float64)
    added = MinibatchDeviation(2)(x)[:, 2]
    torch.testing.assert_close(added, torch.tensor([1.5, 1.5, 0.25, 0.25], dtype=torch.float64), rtol=0, atol=1e-4)


def test_deviation_of_maps_is_over_rows_at_each_position():
    # Each of the 1 × 2 positions has rows (0, 2), deviation 1; a constant map shows it everywhere.
    x = torch.tensor([[[[0.0, 7.0]]], [[[2.0, 9.0]]]])
    y = MinibatchDeviation(2)(x)
    assert torch.equal(y[:, :1], x)
    torch.testing.assert_close(y[:, 1:], torch.ones(2, 1, 1, 2))


def test_a_batch_that_the_group_does_not_divide():
    # 7 rows, groups of 3: two groups, of 4 and 3 consecutive rows.
    x = drawn(7, 5)
    one, other = (x[a:b].std(0, correction=0).mean() for a, b in ((0, 4), (4, 7)))
    expected = torch.stack([one] * 4 + [other] * 3)
    torch.testing.assert_close(MinibatchDeviation(3)(x)[:, 5], expected, rtol=0, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 13), st.integers(1, 6), st.sampled_from([(2,), (3, 2, 5), (1, 1, 1)]))
def test_deviation_keeps_rows_and_groups_are_at_least_so_large(n, group, shape):
    x = drawn(n, *shape)
    y = MinibatchDeviation(group)(x)
    assert y.shape == (n, shape[0] + 1, *shape[1:])
    assert torch.equal(y[:, :-1], x)
    added = y[:, -1].reshape(n, prod(shape[1:]))
    assert torch.equal(added, added[:, :1].expand_as(added))
    sizes = torch.unique_consecutive(added[:, 0], return_counts=True)[1].tolist()
    assert all(size >= min(group, n) for size in sizes)


def test_deviation_has_gradients_where_all_rows_are_equal():
    x = torch.ones(4, 3, requires_grad=True)
    y = MinibatchDeviation(4)(x)
    torch.testing.assert_close(y[:, 3], torch.full((4,), sqrt(1e-8)))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.isfinite().all()


def test_a_group_of_nothing_is_refused():
    with pytest.raises(ValueError, match="not 0"):
        MinibatchDeviation(0)
