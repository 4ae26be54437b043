"""DiffAugment on small images worked out by hand, and what holds for all of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra.augment.differentiable import (
    POLICIES,
    augment,
    brightness,
    color,
    contrast,
    cutout,
    numbers,
    saturation,
    translation,
)
from simulacra.errors import UserError

MIDDLE = 0.5
LAST = 1.0 - 2.0**-24
"""The largest float32 below 1."""
NAMES = list(POLICIES)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def each(*values):
    return torch.tensor(values)


def test_brightness_by_hand():
    # u = 0, ½, ¾ add −½, 0, ¼.
    x = torch.zeros(3, 1, 1, 2)
    torch.testing.assert_close(brightness(x, each(0.0, 0.5, 0.75))[:, 0, 0, 0], each(-0.5, 0.0, 0.25))


def test_saturation_by_hand():
    # The pixel (1, 0, −0.4) has mean 0.2: it goes from grey by way of itself to 0.2 + 2 · (0.8, −0.2, −0.6).
    x = each(1.0, 0.0, -0.4).view(1, 3, 1, 1).expand(3, 3, 1, 1)
    y = saturation(x, each(0.0, 0.5, LAST))[:, :, 0, 0]
    torch.testing.assert_close(y, torch.tensor([[0.2, 0.2, 0.2], [1.0, 0.0, -0.4], [1.8, -0.2, -1.0]]))


def test_saturation_of_one_channel_does_nothing():
    x = drawn(4, 1, 3, 5)
    assert torch.equal(saturation(x, uniform(4)), x)


def test_contrast_by_hand():
    # The mean over channels and pixels is 0.25; u = 0 halves distances from it, u = 1 takes 1½ times.
    x = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]]).expand(2, 2, 1, 2)
    y = contrast(x, each(0.0, LAST))
    half = torch.tensor([[[0.625, 0.125]], [[0.125, 0.125]]])
    more = torch.tensor([[[1.375, -0.125]], [[-0.125, -0.125]]])
    torch.testing.assert_close(y, torch.stack([half, more]))


def test_translation_by_hand():
    # 8 × 16: at most 1 row and 2 columns. u₀ in thirds is −1, 0, 1; u₁ in fifths −2 … 2. Zeros come in.
    x = 1.0 + torch.arange(8 * 16.0).view(1, 1, 8, 16)
    y = translation(x, torch.tensor([[0.9, 0.1]]))  # down by 1, left by 2
    expected = torch.zeros(1, 1, 8, 16)
    expected[..., 1:, :14] = x[..., :7, 2:]
    assert torch.equal(y, expected)
    y = translation(x, torch.tensor([[0.4, 0.7]]))  # right by 1
    expected = torch.zeros(1, 1, 8, 16)
    expected[..., 1:] = x[..., :15]
    assert torch.equal(y, expected)


@pytest.mark.parametrize(("size", "most"), [(2, 0), (4, 1), (8, 1), (12, 2), (28, 4), (32, 4)])
def test_translations_are_of_an_eighth_at_most_each_as_likely(size, most):
    # A bright dot in the middle comes to lie at −most … most from there.
    n = 50 * (2 * most + 1)
    u = torch.stack([(torch.arange(n) + 0.5) / n, torch.full((n,), MIDDLE)], 1)
    x = torch.zeros(n, 1, size, 3)
    x[:, :, size // 2, 1] = 1.0
    where = translation(x, u)[:, 0, :, 1].argmax(1) - size // 2
    values, counts = where.unique(return_counts=True)
    assert values.tolist() == list(range(-most, most + 1))
    assert set(counts.tolist()) == {50}


def test_cutout_by_hand():
    # 4 × 6: two rows and three columns. Centres of rows are 0 … 4, of columns 0 … 5.
    x = torch.ones(1, 1, 4, 6)
    y = cutout(x, torch.tensor([[0.0, 0.0]]))  # rows −1, 0 and columns −1, 0, 1
    expected = x.clone()
    expected[..., :1, :2] = 0.0
    assert torch.equal(y, expected)
    y = cutout(x, torch.tensor([[0.5, 0.4]]))  # centres 2 and 2: rows 1, 2 and columns 1, 2, 3
    expected = x.clone()
    expected[..., 1:3, 1:4] = 0.0
    assert torch.equal(y, expected)
    y = cutout(x, torch.tensor([[LAST, LAST]]))  # centres 4 and 5: row 3 and columns 4, 5
    expected = x.clone()
    expected[..., 3:, 4:] = 0.0
    assert torch.equal(y, expected)


@pytest.mark.parametrize("size", [4, 5, 6, 7])
def test_cuts_lie_the_same_from_either_side(size):
    n = 60 * (size + 1) * size
    u = torch.stack([(torch.arange(n) + 0.5) / n, torch.full((n,), MIDDLE)], 1)
    cut = (cutout(torch.ones(n, 1, size, 1), u) == 0).float().mean(0).flatten()
    torch.testing.assert_close(cut, cut.flip(0))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 3), st.integers(1, 4), st.integers(1, 13), st.integers(1, 13), st.lists(st.sampled_from(NAMES)),
    st.integers(0, 99),
)  # fmt: skip
def test_any_shape_stays_finite_and_rows_are_their_own(n, channels, height, width, names, seed):
    x, u = drawn(n, channels, height, width, seed=seed), uniform(n, numbers(names), seed=seed)
    y = augment(x, u, names)
    assert y.shape == x.shape
    assert y.isfinite().all()
    for k in range(n):
        torch.testing.assert_close(augment(x[k : k + 1], u[k : k + 1], names), y[k : k + 1])


@pytest.mark.parametrize("ends", [0.0, LAST])
def test_ends_of_the_range(ends):
    y = augment(drawn(2, 3, 9, 6), torch.full((2, numbers(NAMES)), ends), NAMES)
    assert y.isfinite().all()


def test_the_middle_of_color_and_translation_changes_nothing():
    x = drawn(3, 3, 8, 9)
    torch.testing.assert_close(augment(x, torch.full((3, 5), MIDDLE), ["color", "translation"]), x)
    assert torch.equal(translation(x, torch.full((3, 2), MIDDLE)), x)


def test_names_take_their_numbers_in_order():
    x, u = drawn(3, 3, 8, 8), uniform(3, 5)
    assert numbers(["cutout", "color"]) == 5
    expected = color(cutout(x, u[:, :2]), u[:, 2:])
    assert torch.equal(augment(x, u, ["cutout", "color"]), expected)
    assert torch.equal(augment(x, u[:, :0], []), x)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_of_both_orders(name):
    x = drawn(2, 2, 5, 4).double().requires_grad_()
    u = uniform(2, numbers([name])).double()

    def run(x):
        return augment(x, u, [name]).square()

    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


@pytest.mark.parametrize("call", [numbers, lambda names: augment(drawn(1, 1, 4, 4), uniform(1, 2), names)])
def test_unknown_names_are_refused_with_the_nearest(call):
    with pytest.raises(UserError, match="unknown augmentation 'cutuot': did you mean 'cutout'"):
        call(["cutuot"])


def test_another_number_of_numbers_is_refused():
    with pytest.raises(RuntimeError, match="split"):
        augment(drawn(1, 1, 4, 4), uniform(1, 3), ["cutout"])
