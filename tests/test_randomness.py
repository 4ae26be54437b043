"""Numbers that are functions of a key and a sample's number."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simulacra import randomness
from simulacra.errors import UserError
from simulacra.randomness import counter_uniform, generator, key_of, sample_normal, sample_uniform

SEEDS = st.integers(-(2**62), 2**62)


def test_keys_are_the_same_on_every_machine():
    assert key_of() == 6510301506637419378
    assert key_of(0) == 893442142816765029
    assert key_of(0, 0) == 520810605562734633
    assert key_of(1, -2, 2**62) == 1772101722553459903


def splitmix(x):
    """The next output of SplitMix64 at state x, in Python's own integers."""
    x &= 2**64 - 1
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & (2**64 - 1)
    return x ^ (x >> 31)


def test_the_mixer_is_splitmix64():
    """The first outputs from state 1234567, as the reference implementation prints them."""
    golden = 0x9E3779B97F4A7C15
    assert [splitmix(1234567 + k * golden) for k in (1, 2)] == [6457827717110365317, 3203168211198807973]


@given(seed=SEEDS, index=st.integers(0, 2**62), column=st.integers(0, 8), draw=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_every_number_is_a_splitmix_output_of_its_row_and_column(seed, index, column, draw):
    golden = 0x9E3779B97F4A7C15
    row = splitmix(key_of(seed, draw) + golden * (index + 1))
    expected = ((splitmix(row + golden * (column + 1)) >> 11) + 0.5) / 2**53
    assert counter_uniform(seed, np.array([index]), 9, draw)[0, column] == expected


@given(st.lists(st.tuples(SEEDS, SEEDS), min_size=2, max_size=20, unique=True))
def test_keys_are_63_bits_and_different_for_different_parts(parts):
    keys = [key_of(*pair) for pair in parts]
    assert all(0 <= key < 2**63 for key in keys)
    assert len(set(keys)) == len(parts)
    assert key_of(1) != key_of(1, 0)


@given(seed=SEEDS, start=st.integers(0, 2**40), n=st.integers(0, 20), offset=st.integers(0, 20), draw=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_sample_i_does_not_depend_on_what_is_drawn_beside_it(seed, start, n, offset, draw):
    for law in (sample_uniform, sample_normal):
        whole = law(offset + n, 2, 3, seed=seed, start=start, draw=draw)
        part = law(n, 2, 3, seed=seed, start=start + offset, draw=draw)
        assert whole.shape == (offset + n, 2, 3)
        assert whole.dtype == torch.float32
        assert torch.equal(whole[offset:], part)


@given(seed=SEEDS, start=st.integers(0, 2**62), draw=st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_uniform_numbers_lie_strictly_between_zero_and_one(seed, start, draw):
    u = counter_uniform(seed, np.arange(start, start + 50), 20, draw)
    assert u.shape == (50, 20)
    assert u.min() > 0
    assert u.max() < 1
    assert np.unique(u).size == u.size


def test_what_would_round_to_one_stays_below_it(monkeypatch):
    """An event of probability one happens: u < 1. Other numbers are as float32 rounds them."""
    highest, half = (2.0**53 - 0.5) * 2.0**-53, 0.5
    monkeypatch.setattr(randomness, "counter_uniform", lambda *_: np.array([[highest, half]]))
    found = sample_uniform(1, 2, seed=0)
    assert found.tolist() == [[float(np.nextafter(np.float32(1), np.float32(0))), half]]


def test_moments_are_those_of_the_uniform_law():
    u = counter_uniform(5, np.arange(20_000), 10)
    error = 1 / np.sqrt(u.size)
    assert abs(u.mean() - 1 / 2) < 4 * error * np.sqrt(1 / 12)
    assert abs(u.var() - 1 / 12) < 4 * error * np.sqrt(1 / 180)
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-4


def correlation(a, b):
    """In standard errors."""
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) * np.sqrt(a.size)


def test_neighbours_in_every_direction_are_uncorrelated():
    u = counter_uniform(5, np.arange(10_001), 11)
    assert correlation(u[1:], u[:-1]) < 4
    assert correlation(u[:, 1:], u[:, :-1]) < 4
    assert correlation(u[1:, 1:], u[:-1, :-1]) < 4
    assert correlation(u[1:, :-1], u[:-1, 1:]) < 4  # row and column are not added up
    for other in (counter_uniform(6, np.arange(10_001), 11), counter_uniform(5, np.arange(10_001), 11, draw=1)):
        assert correlation(u, other) < 4
        assert not np.intersect1d(u, other).size


def test_normal_noise_is_normal():
    z = sample_normal(20_000, 5, seed=3).double()
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-4
    covariance = z.T @ z / len(z)
    assert (covariance - torch.eye(5)).abs().max() < 5 * 2**0.5 / len(z) ** 0.5
    assert z.abs().max() < 7


def test_a_sample_without_dimensions_is_a_number():
    assert sample_uniform(4, seed=0).shape == (4,)
    assert torch.equal(sample_normal(4, seed=0), sample_normal(4, 1, seed=0)[:, 0])


def test_generators_are_functions_of_their_key():
    cpu = torch.device("cpu")
    draws = [torch.rand(4, generator=generator(cpu, *key)) for key in ((1, 2), (1, 2), (2, 1), (1, 2, 0))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[3])


# Truncated noise


@given(seed=SEEDS, threshold=st.floats(1e-6, 1e6), n=st.integers(1, 20), offset=st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_truncated_noise_is_within_its_threshold_and_follows_the_same_uniforms(seed, threshold, n, offset):
    z = sample_normal(offset + n, 3, seed=seed, truncation=threshold)
    assert (z.abs() <= np.float32(threshold)).all()
    assert torch.equal(z[offset:], sample_normal(n, 3, seed=seed, start=offset, truncation=threshold))
    order = counter_uniform(seed, np.arange(offset + n), 3).ravel().argsort()
    assert (z.flatten()[order].diff() >= -1e-6 * threshold).all()
    assert torch.equal(sample_normal(n, 3, seed=seed, truncation=np.inf), sample_normal(n, 3, seed=seed))


def test_truncated_noise_has_the_law_of_noise_that_was_drawn_again_until_it_was_small():
    for threshold in (0.04, 0.5, 2.0):
        z = sample_normal(20_000, seed=3, truncation=threshold).numpy()
        assert stats.kstest(z, stats.truncnorm(-threshold, threshold).cdf).pvalue > 1e-4


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_a_threshold_must_be_positive(threshold):
    with pytest.raises(UserError, match="threshold must be above 0"):
        sample_normal(2, seed=0, truncation=threshold)
