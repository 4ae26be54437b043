"""Adaptive augmentation: every transformation alone, by hand or against other tools, the whole, and its controller."""

from math import log, pi

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm
from torch.nn.functional import affine_grid, grid_sample

from simulacra.augment.adaptive import (
    NUMBERS,
    OF_COLOURS,
    TRANSFORMATIONS,
    adaptive,
    next_probability,
    recoloured,
    resampled,
)
from simulacra.augment.laws import integers, normal

LAST = 1.0 - 2.0**-24
BY_NAME = {each.name: each for each in TRANSFORMATIONS}
NEUTRAL = {"flip": 0.25, "quarter-turns": 0.1, "luma-flip": 0.25}
"""Uniform numbers that stand for no change; of all others it is ½."""


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def told(n, gate, **chosen):
    """Numbers for n rows: `gate` for all transformations, neutral but for those `chosen` by name, which strike."""
    columns = []
    for each in TRANSFORMATIONS:
        values = chosen.get(each.name.replace("-", "_"))
        columns.append(torch.full((n, 1), gate if values is None else 0.0))
        neutral = [NEUTRAL.get(each.name, 0.5)] * each.numbers
        columns.append(torch.tensor([neutral if values is None else values]).expand(n, -1))
    return torch.cat(columns, 1)


def struck(x, **chosen):
    """x under the chosen transformations alone."""
    return adaptive(x, told(len(x), 0.99, **chosen), torch.tensor(0.5))


def quantile(value):
    """The uniform number whose normal number is `value`."""
    return float(norm.cdf(value))


# Where pixels come from


def test_flip():
    x = drawn(2, 3, 4, 5)
    assert torch.equal(struck(x, flip=[0.75]), x.flip(3))
    assert torch.equal(struck(x, flip=[0.25]), x)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("size", [4, 5])
def test_quarter_turns_are_clockwise(turns, size):
    x = drawn(2, 3, size, size)
    assert torch.equal(struck(x, quarter_turns=[turns / 4 + 0.1]), x.rot90(-turns, (2, 3)))


def test_quarter_turns_spare_images_that_are_not_square():
    x = drawn(2, 3, 4, 5)
    assert torch.equal(struck(x, quarter_turns=[0.6]), x)


def test_whole_shift():
    # 8 × 16, u = 0.9 and 0.1: 0.125 · 0.8 = 0.1 of 16 columns, 1.6, right by 2; −0.8 rows, up by 1. Mirrored borders.
    x = drawn(1, 1, 8, 16)
    y = struck(x, whole_shift=[0.9, 0.1])
    assert torch.equal(y[..., :7, 2:], x[..., 1:, :14])
    assert torch.equal(y[..., :7, :2], x[..., 1:, :2].flip(3))
    assert torch.equal(y[..., 7, 2:], x[..., 7, :14])


def test_shift_by_a_normal_share_of_the_size():
    # Two standard deviations are a quarter: 2 of 8 columns to the right, and 1 of 4 rows up by minus two.
    x = drawn(1, 2, 4, 8)
    y = struck(x, shift=[quantile(2.0), quantile(-2.0)])
    torch.testing.assert_close(y[..., :3, 2:], x[..., 1:, :6], rtol=0, atol=1e-5)


def test_shift_between_pixels_mixes_neighbours():
    # 0.125 · z · 8 = ½ at z = ½: half way between a pixel and its left neighbour, itself at the border.
    x = drawn(1, 1, 1, 8)
    y = struck(x, shift=[quantile(0.5), 0.5])
    expected = 0.5 * (x + torch.cat([x[..., :1], x[..., :-1]], 3))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-5)


def doubled(x, rows, columns):
    """By torch: x enlarged about its centre by these factors, mirrored outside."""
    theta = torch.tensor([[1.0 / columns, 0.0, 0.0], [0.0, 1.0 / rows, 0.0]]).expand(len(x), 2, 3)
    grid = affine_grid(theta, list(x.shape), align_corners=False)
    return grid_sample(x, grid, "bilinear", "reflection", align_corners=False)


@pytest.mark.parametrize("octaves", [0.7, -1.0, 0.3])
def test_isotropic_scaling_is_lognormal(octaves):
    # s = exp(0.2 ln 2 · z) is 2^octaves at z = 5 · octaves.
    x = drawn(2, 3, 6, 9)
    y = struck(x, isotropic=[quantile(5.0 * octaves)])
    torch.testing.assert_close(y, doubled(x, 2.0**octaves, 2.0**octaves), rtol=0, atol=1e-3)


@pytest.mark.parametrize("octaves", [0.5, -0.5])
def test_anisotropic_scaling_widens_as_it_lowers(octaves):
    x = drawn(2, 3, 6, 9)
    y = struck(x, anisotropic=[quantile(5.0 * octaves)])
    torch.testing.assert_close(y, doubled(x, 2.0**-octaves, 2.0**octaves), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["rotation_before", "rotation_after"])
def test_rotation_is_clockwise_by_up_to_half_a_turn(name):
    # θ = π(2u − 1): u = ¾ is a right angle, u = 0 half a turn.
    x = drawn(2, 3, 5, 5)
    torch.testing.assert_close(struck(x, **{name: [0.75]}), x.rot90(-1, (2, 3)), rtol=0, atol=1e-5)
    torch.testing.assert_close(struck(x, **{name: [0.0]}), x.rot90(2, (2, 3)), rtol=0, atol=1e-5)


def test_rotation_between_right_angles():
    # A blob 4 to the right of the centre, turned by 45° clockwise, is 4/√2 right and 4/√2 down: its centre of mass.
    # The image is not square, its pixels are.
    down, right = torch.arange(21.0)[:, None] - 10.0, torch.arange(25.0) - 12.0
    x = (-0.25 * (down.square() + (right - 4.0).square())).exp()[None, None]
    y = struck(x, rotation_after=[0.625])[0, 0]
    centre = torch.stack([(y * right).sum(), (y * down).sum()]) / y.sum()
    torch.testing.assert_close(centre, torch.full((2,), 4 / 2**0.5), rtol=0, atol=0.01)


def test_transformations_strike_in_their_order():
    # A flip, then a turn: not the same as a turn, then a flip.
    x = drawn(1, 1, 4, 4)
    y = struck(x, flip=[0.75], quarter_turns=[0.3], whole_shift=[LAST, 0.5])
    turned = x.flip(3).rot90(-1, (2, 3))
    assert torch.equal(y, turned)  # 0.125 · 4 = ½ rounds to no shift
    x = drawn(1, 1, 8, 8)
    y = struck(x, flip=[0.75], quarter_turns=[0.3], whole_shift=[LAST, 0.5])
    assert torch.equal(y[..., 1:], x.flip(3).rot90(-1, (2, 3))[..., :7])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(0, 999),
    st.floats(0.1, 4.0),
)  # fmt: skip
def test_resampling_is_that_of_torch(n, channels, height, width, seed, reach):
    x = drawn(n, channels, height, width, seed=seed).double()
    inverse = torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)
    inverse[:, :2] += reach * drawn(n, 2, 3, seed=seed + 1).double()
    size = torch.tensor([width, height, 2.0], dtype=torch.float64) / 2.0  # torch's coordinates are of half the size
    theta = inverse[:, :2] * size / size[:2, None]
    theta[:, :, 2] = inverse[:, :2, 2] / size[:2]
    grid = affine_grid(theta, list(x.shape), align_corners=False)
    expected = grid_sample(x, grid, "bilinear", "reflection", align_corners=False)
    torch.testing.assert_close(resampled(x, inverse), expected, rtol=0, atol=1e-9)


# Colours


def test_brightness():
    x = drawn(2, 3, 4, 5)
    torch.testing.assert_close(struck(x, brightness=[quantile(2.0)]), x + 0.4)


def test_contrast():
    # c = exp(0.5 ln 2 · z): doubled at z = 2.
    x = drawn(2, 1, 4, 5)
    torch.testing.assert_close(struck(x, contrast=[quantile(2.0)]), 2.0 * x)


def test_contrast_comes_after_brightness():
    x = drawn(2, 3, 4, 5)
    y = struck(x, brightness=[quantile(1.0)], contrast=[quantile(-2.0)])
    torch.testing.assert_close(y, 0.5 * (x + 0.2))


def test_luma_flip_turns_grey_and_keeps_what_is_no_grey():
    x = drawn(2, 3, 4, 5)
    grey = x.mean(1, keepdim=True)
    torch.testing.assert_close(struck(x, luma_flip=[0.75]), x - 2.0 * grey)


def test_hue_turns_red_into_green_into_blue():
    # A third of a turn: u = ½ ± ⅓.
    x = drawn(2, 3, 4, 5)
    torch.testing.assert_close(struck(x, hue=[5 / 6]), x.roll(1, 1), rtol=0, atol=1e-6)
    torch.testing.assert_close(struck(x, hue=[1 / 6]), x.roll(-1, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("octaves", [1.0, -2.0])
def test_saturation(octaves):
    x = drawn(2, 3, 4, 5)
    grey = x.mean(1, keepdim=True)
    expected = grey + 2.0**octaves * (x - grey)
    torch.testing.assert_close(struck(x, saturation=[quantile(octaves)]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_without_three_channels_keep_their_colours(channels):
    x = drawn(2, channels, 4, 5)
    everything = {each.name.replace("-", "_"): [0.9] for each in OF_COLOURS}
    assert torch.equal(struck(x, **everything), x)
    torch.testing.assert_close(struck(x, brightness=[quantile(1.0)], **everything), x + 0.2)


def test_recolouring_is_the_matrix_times_every_pixel():
    x, matrix = drawn(2, 3, 4, 5), drawn(2, 4, 4, seed=1)
    whole = torch.cat([x, torch.ones(2, 1, 4, 5)], 1)
    torch.testing.assert_close(recoloured(x, matrix), torch.einsum("nij,njhw->nihw", matrix, whole)[:, :3])


# The whole


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_without_probability_nothing_happens_bit_for_bit(n, channels, height, width, seed):
    x, u = drawn(n, channels, height, width, seed=seed), uniform(n, NUMBERS, seed=seed)
    assert torch.equal(adaptive(x, u, torch.tensor(0.0)), x)
    assert torch.equal(adaptive(x, u, 0.0), x)


def test_neutral_numbers_change_nothing():
    x = drawn(3, 3, 8, 6)
    torch.testing.assert_close(adaptive(x, told(3, 0.0), torch.tensor(1.0)), x, rtol=0, atol=2e-5)


def test_rows_that_are_spared_stay_bit_for_bit_among_others():
    x, u = drawn(4, 3, 8, 6), uniform(4, NUMBERS)
    u[1] = told(1, LAST)[0]
    y = adaptive(x, u, torch.tensor(0.9))
    assert torch.equal(y[1], x[1])
    assert all(not torch.allclose(y[k], x[k]) for k in (0, 2, 3))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12), st.integers(0, 99),
    st.sampled_from([0.3, 1.0]),
)  # fmt: skip
def test_any_shape_stays_finite_and_rows_are_their_own(n, channels, height, width, seed, p):
    x, u = drawn(n, channels, height, width, seed=seed), uniform(n, NUMBERS, seed=seed)
    y = adaptive(x, u, torch.tensor(p))
    assert y.shape == x.shape
    assert y.isfinite().all()
    for k in range(n):
        torch.testing.assert_close(adaptive(x[k : k + 1], u[k : k + 1], torch.tensor(p)), y[k : k + 1])


@pytest.mark.parametrize("ends", [0.0, LAST])
def test_ends_of_the_range(ends):
    u = torch.full((2, NUMBERS), ends)
    u[:, [0, 2]] = 0.0
    assert adaptive(drawn(2, 3, 9, 6), u, torch.tensor(1.0)).isfinite().all()


def test_images_keep_their_range_under_geometry():
    # Weights of pixels are not negative and sum to one.
    u = uniform(64, NUMBERS)
    u[:, [18, 20, 22, 24, 26]] = LAST  # no colours
    y = adaptive(torch.ones(64, 1, 7, 9), u, torch.tensor(0.9))
    torch.testing.assert_close(y, torch.ones_like(y))


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("p", [0.2, 0.7])
def test_each_strikes_with_its_probability(name, p):
    # Gates at the middles of 1000 equal parts; numbers that change the image. Both rotations together strike with p.
    strong = {"quarter-turns": 0.4}.get(name, 0.9)
    each = BY_NAME[name]
    n = 1000
    u = told(n, LAST)
    first = sum(1 + other.numbers for other in TRANSFORMATIONS[: TRANSFORMATIONS.index(each)])
    u[:, first] = (torch.arange(n) + 0.5) / n
    u[:, first + 1 : first + 1 + each.numbers] = strong
    x = drawn(1, 3, 8, 8).expand(n, 3, 8, 8)
    share = (adaptive(x, u, torch.tensor(p)) != x).flatten(1).any(1).float().mean()
    expected = 1.0 - (1.0 - p) ** 0.5 if each.doubled else p
    assert abs(float(share) - expected) < 0.0011


def test_both_rotations_together_have_the_probability():
    assert [each.name for each in TRANSFORMATIONS if each.doubled] == ["rotation-before", "rotation-after"]
    one = 1.0 - (1.0 - 0.36) ** 0.5
    assert 1.0 - (1.0 - one) ** 2 == pytest.approx(0.36)


def test_derivatives_of_both_orders():
    x, u = drawn(2, 3, 4, 5).double().requires_grad_(), uniform(2, NUMBERS, seed=3).double()

    def run(x):
        return adaptive(x, u, torch.tensor(0.8)).square()

    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


def test_autocast_changes_nothing():
    x, u = drawn(3, 3, 8, 8), uniform(3, NUMBERS)
    with torch.autocast("cpu", torch.bfloat16):
        inside = adaptive(x, u, torch.tensor(0.8))
    assert torch.equal(inside, adaptive(x, u, torch.tensor(0.8)))


def test_numbers_are_one_more_than_each_takes():
    # Blits 2 + 2 + 3, geometry 2 + 2 + 2 + 2 + 3, colours 5 · 2.
    assert NUMBERS == 28
    with pytest.raises(ValueError, match="28"):
        adaptive(drawn(2, 3, 4, 4), uniform(2, 27), 0.5)


# Laws


def test_normal_numbers():
    u = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    assert kstest(normal(u).numpy(), "norm").statistic < 1e-3
    assert normal(torch.tensor([0.5])) == 0.0
    ends = normal(torch.tensor([0.0, LAST]))
    torch.testing.assert_close(ends, torch.tensor([norm.ppf(2.0**-25), norm.ppf(LAST)], dtype=torch.float32))


def test_integers_are_equally_likely_and_never_too_large():
    u = (torch.arange(700) + 0.5) / 700
    assert integers(u, 7).bincount().tolist() == [100] * 7
    assert all(int(integers(torch.tensor([LAST]), n)) == n - 1 for n in range(1, 100))


def test_scales_and_angles_have_the_papers_laws():
    # By their matrices: log₂ of scales is N(0, 0.2²), of saturation N(0, 1); angles are uniform.
    u = ((torch.arange(2000, dtype=torch.float64) + 0.5) / 2000)[:, None]
    scale = -BY_NAME["isotropic"].matrix(u, (3, 8, 8))[:, 0, 0].log() / log(2.0)
    assert kstest(scale.numpy(), norm(0, 0.2).cdf).statistic < 1e-3
    saturation = BY_NAME["saturation"].matrix(u, (3, 8, 8))
    stretched = (saturation[:, 0, 0] - saturation[:, 0, 1]).log() / log(2.0)
    assert kstest(stretched.numpy(), "norm").statistic < 1e-3
    turned = BY_NAME["rotation-before"].matrix(u, (3, 8, 8))
    angle = torch.atan2(turned[:, 0, 1], turned[:, 0, 0]) / (2 * pi) + 0.5
    assert kstest(angle.numpy(), "uniform").statistic < 1e-3


# The controller


def test_next_probability_by_hand():
    # 64 images are 64/500000 = 0.000128.
    p = torch.tensor(0.25)
    torch.testing.assert_close(next_probability(p, torch.tensor(0.7), 64), torch.tensor(0.250128))
    torch.testing.assert_close(next_probability(p, torch.tensor(0.5), 64), torch.tensor(0.249872))
    assert next_probability(p, torch.tensor(0.6), 64) == p
    torch.testing.assert_close(
        next_probability(p, torch.tensor(0.1), 10, target=0.0, images_to_one=100), torch.tensor(0.35)
    )


def test_it_stays_within_bounds_and_takes_half_a_million_images_from_end_to_end():
    p = torch.zeros((), dtype=torch.float64)
    assert next_probability(p, torch.tensor(-1.0), 1000) == 0.0
    for _ in range(499):
        p = next_probability(p, torch.tensor(1.0), 1000)
    assert p < 1.0
    for _ in range(2):
        p = next_probability(p, torch.tensor(1.0), 1000)
    assert p == 1.0
