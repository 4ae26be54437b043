"""Kernel distances against numbers by hand, torch-fidelity, scikit-learn and their own statistics."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import euclidean_distances, polynomial_kernel, rbf_kernel
from torch_fidelity.metric_kid import kid_features_to_metric

from simulacra.errors import UserError
from simulacra.metrics import kernel
from simulacra.metrics.kernel import (
    KID,
    KIDConfig,
    MMDTest,
    MMDTestConfig,
    kernel_sums,
    median_bandwidth,
    permutation_p,
    polynomial,
    polynomial_mmd2,
    squared_distances,
)
from simulacra.metrics.measure import Seen
from tests.checks.ranks import on_ranks


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def feed(measure, real, fake, batch=1000, order=slice(None), only=slice(None)):
    """`measure` after it has seen the rows, in an order, in batches, or only some of them."""
    for side, rows in (("real", real), ("fake", fake)):
        for part in torch.arange(len(rows))[order][only].split(batch):
            measure.update(side, Seen(part, rows[part]))
    return measure


def kid(real, fake, **options):
    return feed(KID(KIDConfig(**options)), real, fake).compute()["kid"]


def mmd(real, fake, **options):
    return feed(MMDTest(MMDTestConfig(**options)), real, fake).compute()


def mmd2_from(kxx, kyy, kxy):
    """The unbiased MMD² of three kernel matrices, as it is written."""
    m, n = kxy.shape
    within = (kxx.sum() - kxx.trace()) / (m * (m - 1)) + (kyy.sum() - kyy.trace()) / (n * (n - 1))
    return within - 2 * kxy.mean()


# MMD² under the polynomial kernel


def test_three_points_against_three_by_hand():
    """D = 1, so k(x, y) = (xy + 1)³.

    x = 0, 1, 2: k(0,1) = 1, k(0,2) = 1, k(1,2) = 27; the mean of 29 over 3 pairs.
    y = 1, 1, 3: k(1,1) = 8, k(1,3) = 64 twice; the mean of 136 over 3 pairs.
    across: x = 0: 1 + 1 + 1; x = 1: 8 + 8 + 64; x = 2: 27 + 27 + 343; the mean of 480 over 9.
    29/3 + 136/3 − 2·480/9 = 165/3 − 960/9 = −465/9 = −155/3.
    """
    x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [1.0], [3.0]])
    assert polynomial_mmd2(x, y) == pytest.approx(float(Fraction(-155, 3)), rel=1e-14)
    score = kid(x, y)
    assert score.value == pytest.approx(-155 / 3, rel=1e-14)
    assert (score.facts["subsets"], score.facts["subset_size"], score.facts["std"]) == (1, 3, None)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 5), st.integers(0, 2**31))
def test_it_is_what_scikit_learns_kernels_give(m, n, d, seed):
    x, y = drawn(m, d, seed=seed), 1 + drawn(n, d, seed=seed + 1)
    kernels = (polynomial_kernel(*pair, degree=3, gamma=1 / d, coef0=1) for pair in ((x, x), (y, y), (x, y)))
    assert polynomial_mmd2(x, y) == pytest.approx(mmd2_from(*kernels), rel=1e-9, abs=1e-9)


def test_blocks_change_nothing(monkeypatch):
    x, y = drawn(50, 3), drawn(41, 3, seed=1)
    whole = kernel_sums(polynomial, x, y)
    monkeypatch.setattr(kernel, "BLOCK", 16)
    for found, expected in zip(kernel_sums(polynomial, x, y), whole):
        assert torch.allclose(found, expected, rtol=1e-12)


def test_the_jackknife_is_the_estimate_with_each_row_left_out():
    x, y = drawn(7, 2), drawn(5, 2, seed=1)
    others = [torch.arange(7) != i for i in range(7)]
    left_out = np.array([polynomial_mmd2(x[each], y) for each in others])
    by_x, _ = kernel_sums(polynomial, x, y).variances()
    _, by_x_as_y = kernel_sums(polynomial, y, x).variances()
    assert by_x == pytest.approx(6 / 7 * ((left_out - left_out.mean()) ** 2).sum(), rel=1e-9)
    assert by_x_as_y == pytest.approx(by_x, rel=1e-12)


# KID


def test_on_the_same_subsets_it_is_what_torch_fidelity_says():
    real, fake = drawn(80, 6).float(), 0.2 + drawn(70, 6, seed=1).float()
    peer = kid_features_to_metric(real, fake, kid_subsets=20, kid_subset_size=30, rng_seed=2020, verbose=False)
    draws = np.random.RandomState(2020)
    subsets = [(draws.choice(80, 30, replace=False), draws.choice(70, 30, replace=False)) for _ in range(20)]
    values = [polynomial_mmd2(real[i], fake[j]) for i, j in subsets]
    assert np.mean(values) == pytest.approx(peer["kernel_inception_distance_mean"], rel=1e-4)
    assert np.std(values) == pytest.approx(peer["kernel_inception_distance_std"], rel=1e-4)
    ours = kid(real, fake, subsets=200, subset_size=30)
    assert ours.value == pytest.approx(peer["kernel_inception_distance_mean"], abs=4 * np.std(values) / 20**0.5)
    assert ours.facts["std"] == pytest.approx(np.std(values), rel=0.5)


def test_it_is_the_same_in_any_order_batches_and_ranks():
    real, fake = drawn(60, 4), 0.3 + drawn(60, 4, seed=1)
    options = KIDConfig(subsets=7, subset_size=20, rows=50)
    expected = feed(KID(options), real, fake).compute()["kid"]
    shares = [slice(0, 13), slice(0, 0), slice(13, None)]
    turned = feed(KID(options), real, fake, batch=7, order=torch.arange(60).flip(0)).compute()
    ranks = on_ranks(3, lambda t: feed(KID(options), real, fake, batch=9, only=shares[t.rank]).compute(t))
    for scores in (turned, *ranks):
        assert scores["kid"].value == pytest.approx(expected.value, rel=1e-12)
        assert scores["kid"].standard_error == pytest.approx(expected.standard_error, rel=1e-9)
        assert scores["kid"].facts == expected.facts | {"std": pytest.approx(expected.facts["std"])}


def test_another_seed_draws_other_subsets():
    real, fake = drawn(60, 4), 0.3 + drawn(60, 4, seed=1)
    one, two = (kid(real, fake, subsets=3, subset_size=20, seed=seed).value for seed in (0, 1))
    assert one != two


def test_subsets_are_as_large_as_the_smaller_side_where_it_has_fewer_rows():
    score = kid(drawn(30, 3), drawn(12, 3, seed=1), subsets=5)
    assert (score.facts["subsets"], score.facts["subset_size"]) == (5, 12)
    assert score.facts["rows"] == {"real": 30, "fake": 12}


def test_of_all_rows_it_is_one_exact_evaluation_with_the_jackknifes_error():
    real, fake = drawn(30, 3), 1 + drawn(30, 3, seed=1)
    score = kid(real, fake)
    assert score.value == pytest.approx(polynomial_mmd2(real, fake), rel=1e-12)
    assert score.standard_error == pytest.approx(sum(kernel_sums(polynomial, real, fake).variances()) ** 0.5)


def test_over_null_draws_the_mean_is_zero_within_three_standard_errors():
    values = np.array(
        [
            kid(drawn(40, 4, seed=2 * k), drawn(30, 4, seed=2 * k + 1), subsets=3, subset_size=20).value
            for k in range(1000)
        ]
    )
    assert abs(values.mean()) < 3 * values.std(ddof=1) / 1000**0.5
    assert values.min() < 0 < values.max()


@pytest.mark.parametrize(("subsets", "size"), [(1, 60), (1, 20), (4, 20), (50, 20), (50, 55)])
def test_the_standard_error_is_how_far_other_rows_move_the_value(subsets, size):
    """Over 200 pools of 60 and 90 rows, whose distributions differ; 200 draws know a deviation to 5%."""
    scores = [
        kid(drawn(60, 2, seed=2 * k), 1 + drawn(90, 2, seed=2 * k + 1), subsets=subsets, subset_size=size)
        for k in range(200)
    ]
    spread = np.std([score.value for score in scores], ddof=1)
    said = np.mean([score.standard_error**2 for score in scores]) ** 0.5
    assert 0.8 < said / spread < 1.3


def test_where_the_distributions_are_one_the_standard_error_is_not_too_small():
    scores = [
        kid(drawn(60, 2, seed=2 * k), drawn(60, 2, seed=2 * k + 1), subsets=10, subset_size=20) for k in range(200)
    ]
    spread = np.std([score.value for score in scores], ddof=1)
    assert 0.9 * spread < np.mean([score.standard_error for score in scores]) < 3 * spread


def test_kid_needs_three_rows():
    with pytest.raises(UserError, match="kid needs at least 3 rows: the generated side has 2"):
        kid(drawn(9, 2), drawn(2, 2))


# The two-sample test


def test_mmd_is_what_scikit_learns_kernel_gives_at_the_median_distance():
    x, y = 100 + drawn(20, 3), 100.5 + drawn(15, 3, seed=1)
    both = torch.cat([x, y])
    sigma = np.median(euclidean_distances(both)[np.triu_indices(35, 1)])  # 595 distances: one is in the middle
    kernels = (rbf_kernel(*pair, gamma=1 / (2 * sigma**2)) for pair in ((x, x), (y, y), (x, y)))
    score = mmd(x, y)["mmd"]
    assert score.facts["bandwidth"] == pytest.approx(sigma, rel=1e-9)
    assert score.value == pytest.approx(mmd2_from(*kernels), rel=1e-9)


def test_four_points_by_hand():
    """0, 0, 0 against 2, 2, 2: 9 of 15 distances are 2, so σ = 2; k is 1 within and e^(−4/8) across: 2 − 2 e^−½.
    Of the 20 choices of 3 of 6 rows two are this one, so p is near 1/10."""
    scores = mmd(torch.zeros(3, 1), torch.full((3, 1), 2.0), permutations=2000)
    assert scores["mmd"].facts["bandwidth"] == 2.0
    assert scores["mmd"].value == pytest.approx(2 - 2 * np.exp(-0.5), rel=1e-12)
    assert scores["mmd_p"].value == pytest.approx(0.1, abs=4 * (0.09 / 2000) ** 0.5)


def test_the_bandwidth_where_most_or_all_rows_are_equal():
    """Nine 0s and a 3: 36 distances 0, 9 distances 3; the mean square is 81/45."""
    rows = torch.tensor([[0.0]] * 9 + [[3.0]], dtype=torch.float64)
    assert median_bandwidth(squared_distances(rows)) == pytest.approx((81 / 45) ** 0.5)
    same = mmd(torch.ones(5, 2), torch.ones(4, 2))
    assert (same["mmd"].value, same["mmd_p"].value) == (0.0, 1.0)


@given(st.integers(3, 6), st.integers(3, 6), st.integers(0, 2**31))
def test_a_permutation_has_the_mmd2_of_its_rows(m, n, seed):
    rows = drawn(m + n, 2, seed=seed)
    gram = torch.exp(-squared_distances(rows)).fill_diagonal_(0.0)
    chosen = torch.randperm(m + n, generator=torch.Generator().manual_seed(seed))
    x, y = chosen[:m], chosen[m:]
    blocks = (rbf_kernel(rows[i], rows[j], gamma=1.0) for i, j in ((x, x), (y, y), (x, y)))
    assert kernel._permuted_mmd2(gram, x[None]).item() == pytest.approx(mmd2_from(*blocks), abs=1e-12)


def test_p_is_uniform_where_the_distributions_are_one():
    """Of 300 null draws a share q has p ≤ q, within 3 binomial deviations."""
    values = np.array(
        [
            mmd(drawn(20, 2, seed=2 * k), drawn(15, 2, seed=2 * k + 1), permutations=99)["mmd_p"].value
            for k in range(300)
        ]
    )
    for q in (0.05, 0.1, 0.3, 0.5, 0.9):
        assert abs((values <= q + 1e-9).mean() - q) < 3 * (q * (1 - q) / 300) ** 0.5


def test_p_is_as_small_as_it_can_be_where_the_distributions_differ():
    assert mmd(drawn(50, 2), 1.5 + drawn(50, 2, seed=1), permutations=199)["mmd_p"].value == 1 / 200
    wider = [mmd(drawn(100, 2, seed=k), 2 * drawn(100, 2, seed=k + 50))["mmd_p"].value for k in range(5)]
    assert max(wider) < 0.05


def test_p_of_permutations_in_several_products_counts_each_once():
    gram = torch.zeros(8, 8, dtype=torch.float64)  # every permutation reaches the observed 0
    assert [permutation_p(gram, 4, b, seed=0) for b in (1, 256, 600)] == [1.0, 1.0, 1.0]
    x, y = drawn(30, 2), 3 + drawn(30, 2, seed=1)
    gram = torch.exp(-squared_distances(torch.cat([x, y]))).fill_diagonal_(0.0)
    assert permutation_p(gram, 30, 600, seed=0) == 1 / 601


def test_the_two_sample_test_is_the_same_in_any_order_batches_and_ranks():
    real, fake = drawn(60, 4), 0.3 + drawn(60, 4, seed=1)
    options = MMDTestConfig(rows=40, permutations=50)
    expected = feed(MMDTest(options), real, fake).compute()
    shares = [slice(0, 13), slice(0, 0), slice(13, None)]
    turned = feed(MMDTest(options), real, fake, batch=7, order=torch.arange(60).flip(0)).compute()
    ranks = on_ranks(3, lambda t: feed(MMDTest(options), real, fake, batch=9, only=shares[t.rank]).compute(t))
    for scores in (turned, *ranks):
        for name, score in scores.items():
            assert score.value == pytest.approx(expected[name].value, rel=1e-12)
            assert score.standard_error == pytest.approx(expected[name].standard_error, rel=1e-9)
            assert score.facts["rows"] == {"real": 40, "fake": 40}


def test_the_error_of_mmd_is_how_far_other_rows_move_it():
    scores = [
        mmd(drawn(40, 2, seed=2 * k), 1 + drawn(50, 2, seed=2 * k + 1), permutations=1)["mmd"] for k in range(200)
    ]
    spread = np.std([score.value for score in scores], ddof=1)
    assert 0.8 < np.mean([score.standard_error for score in scores]) / spread < 1.3
