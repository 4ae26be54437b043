"""Moments against two-pass sums, and Fréchet distances against closed forms, sqrtm and torch-fidelity."""

from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from simulacra.errors import UserError
from simulacra.metrics.frechet import FID, IntraFID, Moments, frechet_distance, trace_of_root
from simulacra.metrics.measure import Seen
from tests.checks.ranks import on_ranks


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(d, seed=0):
    return torch.linalg.qr(drawn(d, d, seed=seed)).Q


def moments(*parts):
    found = Moments()
    for part in parts:
        found.add(part)
    return found


def gaussian(mean, covariance, n=2):
    """Moments with the given mean and covariance."""
    mean, covariance = (torch.tensor(values, dtype=torch.float64) for values in (mean, covariance))
    return Moments(n, mean, (n - 1) * covariance)


def feed(measure, sides, batch=1000, order=slice(None), only=slice(None), labels=None):
    """`measure` after it has seen the rows of `sides`, in an order, in batches, or only some of them."""
    for side, rows in sides.items():
        index = torch.arange(len(rows))[order][only]
        for part in index.split(batch):
            measure.update(side, Seen(part, rows[part], labels=None if labels is None else labels[side][part]))
    return measure


# Moments


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) > 1), st.floats(-1e6, 1e6))
def test_moments_are_the_same_in_any_batches_and_lose_no_digits_to_a_large_mean(sizes, offset):
    deviations = drawn(sum(sizes), 3)
    found = moments(*(offset + deviations).split(sizes))
    assert found.count == sum(sizes)
    assert torch.allclose(found.mean, offset + deviations.mean(0), rtol=1e-14, atol=1e-14)
    assert np.allclose(found.covariance, np.cov(deviations.T), rtol=0, atol=1e-8)  # 1e6·ε ≈ 2e-10 a deviation


def test_moments_of_more_rows_than_a_block():
    rows = drawn(2500, 3) + 7
    found = moments(rows[:1], rows[1:])
    assert torch.allclose(found.mean, rows.mean(0))
    assert np.allclose(found.covariance, np.cov(rows.T), rtol=1e-12)


def test_moments_are_joined_over_ranks_some_of_which_have_no_rows():
    rows = 1e4 + drawn(40, 3)
    shares = [rows[:25], rows[:0], rows[25:26], rows[26:]]
    for found in on_ranks(4, lambda table: moments(shares[table.rank]).joined(table)):
        assert found.count == 40
        assert torch.allclose(found.mean, rows.mean(0), rtol=1e-14)
        assert np.allclose(found.covariance, np.cov(rows.T), rtol=0, atol=1e-10)


def test_joining_leaves_the_ranks_own_moments_as_they_were():
    own = [moments(drawn(5, 2)), moments(drawn(9, 2, seed=1))]
    before = [(m.count, m.mean.clone(), m.scatter.clone()) for m in own]
    on_ranks(2, lambda table: own[table.rank].joined(table))
    for m, (count, mean, scatter) in zip(own, before):
        assert m.count == count
        assert torch.equal(m.mean, mean)
        assert torch.equal(m.scatter, scatter)


def test_no_rows_on_any_rank_are_moments_of_none():
    assert [found.count for found in on_ranks(2, lambda table: Moments().joined(table))] == [0, 0]


def test_one_row_has_no_covariance():
    with pytest.raises(ValueError, match="1 rows"):
        moments(drawn(1, 3)).covariance  # noqa: B018


# The trace of the root


def test_two_by_two_matrices_that_do_not_commute_by_hand():
    """The eigenvalues p, q of AB have √p + √q = √(tr AB + 2 √(det A · det B)). A = [[2, 1], [1, 2]]: det 3;
    B = diag(1, 4): det 4; AB = [[2, 4], [1, 8]]: trace 10. √(10 + 2 √12) = 4.11468…"""
    a, b = torch.tensor([[2.0, 1.0], [1.0, 2.0]]).double(), torch.diag(torch.tensor([1.0, 4.0])).double()
    assert trace_of_root(a, b) == pytest.approx(sqrt(10 + 2 * sqrt(12)), rel=1e-14)


@pytest.mark.parametrize(("first", "second"), [(40, 40), (40, 7), (7, 40), (7, 7), (25, 20)])
@pytest.mark.parametrize("decay", [0.0, 0.1, 0.2])
def test_common_eigenvectors_make_it_the_sum_of_roots_of_products(first, second, decay):
    """40 dimensions, the first `first` eigenvalues of one and the last `second` of the other not 0."""
    k, q = torch.arange(40).double(), orthogonal(40)
    a = torch.where(k < first, 3.0 * 10.0 ** (-decay * k), 0.0)
    b = torch.where(k >= 40 - second, 2.0 * 10.0 ** (-decay * (k - 40 + second)), 0.0)
    found = trace_of_root(q * a @ q.T, q * b @ q.T)
    assert found == pytest.approx((a * b).sqrt().sum().item(), rel=1e-6, abs=1e-13)


def test_eigenvalues_that_should_be_zero_add_nothing():
    """Ranges that meet in 1 of 200 dimensions: roots of rounding, each of 1e-8, would add up to 1e-6."""
    q = orthogonal(400)
    a, b = q[:, :200] @ q[:, :200].T, q[:, 199:] @ q[:, 199:].T
    assert trace_of_root(a, b) == pytest.approx(1.0, rel=1e-12)
    assert trace_of_root(b, a) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (5, 90), (90, 5), (30, 20)])
def test_of_covariances_of_few_rows_it_is_the_nuclear_norm_of_their_products(n, m):
    """Tr (XᵀX YᵀY)^½ is the sum of singular values of X Yᵀ, whatever their ranks."""
    x, y = drawn(n, 60), drawn(m, 60, seed=1)
    expected = torch.linalg.svdvals(x @ y.T).sum().item()
    assert trace_of_root(x.T @ x, y.T @ y) == pytest.approx(expected, rel=1e-10)


def test_full_rank_is_what_sqrtm_says():
    x, y = drawn(200, 50).T.cov(), drawn(300, 50, seed=1).T.cov()
    assert trace_of_root(x, y) == pytest.approx(sqrtm((x @ y).numpy()).trace().real, rel=1e-10)


def test_zero_has_a_root_of_zero():
    zero, full = torch.zeros(5, 5).double(), torch.eye(5).double()
    assert [trace_of_root(zero, full), trace_of_root(full, zero), trace_of_root(zero, zero)] == [0.0, 0.0, 0.0]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31), st.floats(-6, 6))
def test_it_is_symmetric_and_scales_with_the_root(n, m, seed, scale):
    x, y = drawn(n, 4, seed=seed), 10.0**scale * drawn(m, 4, seed=seed + 1)
    a, b = x.T @ x, y.T @ y
    found = trace_of_root(a, b)
    assert trace_of_root(b, a) == pytest.approx(found, rel=1e-7)
    assert trace_of_root(4.0 * a, b) == pytest.approx(2.0 * found, rel=1e-7)


# The distance


def test_between_gaussians_with_diagonal_covariances_by_hand():
    """(0, 0), diag(1, 4) and (3, 4), diag(9, 16): 9 + 16 + (1 + 4) + (9 + 16) − 2 (1·3 + 2·4) = 33."""
    real, fake = gaussian([0, 0], [[1, 0], [0, 4]]), gaussian([3, 4], [[9, 0], [0, 16]])
    assert frechet_distance(real, fake) == pytest.approx(33.0, rel=1e-12)


def rows_with(mean, covariance, n, seed):
    """Rows `[n, D]` whose mean and unbiased covariance are exactly these."""
    centred = drawn(n, len(mean), seed=seed)
    q = torch.linalg.qr(centred - centred.mean(0)).Q
    factor = torch.linalg.cholesky(torch.tensor(covariance).double())
    return torch.tensor(mean).double() + sqrt(n - 1) * q @ factor.T


def test_of_rows_whose_moments_are_given_exactly():
    """Commuting covariances [[2, 1], [1, 2]] (eigenvalues 3, 1) and [[5, 3], [3, 5]] (8, 2), means 1 apart:
    1 + 4 + 10 − 2 (√24 + √2)."""
    real = moments(rows_with([1.0, 2.0], [[2.0, 1.0], [1.0, 2.0]], 50, seed=1))
    fake = moments(rows_with([1.0, 3.0], [[5.0, 3.0], [3.0, 5.0]], 70, seed=2))
    assert frechet_distance(real, fake) == pytest.approx(15 - 2 * (sqrt(24) + sqrt(2)), abs=1e-10)


@pytest.mark.parametrize("n", [20, 500])
def test_of_a_set_to_itself_it_is_zero(n):
    rows = (drawn(n, 100) @ drawn(100, 100, seed=1)).relu()
    assert 0.0 <= frechet_distance(moments(rows), moments(rows.flip(0))) <= 1e-6


def test_it_is_never_below_zero_by_rounding_but_says_so_of_what_is_no_covariance():
    assert frechet_distance(gaussian([0], [[1e8]]), gaussian([0], [[1e8]])) == 0.0
    indefinite = gaussian([0, 0], [[1, 0], [0, -2]])
    with pytest.raises(ArithmeticError, match="semi-definite"):
        frechet_distance(indefinite, indefinite)


@pytest.mark.parametrize("n", [300, 30])
def test_it_is_what_torch_fidelity_says(n):
    real, fake = drawn(n, 40).relu(), (drawn(n, 40, seed=1) * 1.3 + 0.2).relu()
    stats = [fid_features_to_statistics(rows) for rows in (real, fake)]
    expected = fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(moments(real), moments(fake)) == pytest.approx(expected, rel=1e-4)


# FID


SIDES = {"real": drawn(60, 5).float(), "fake": (drawn(45, 5, seed=1) + 0.5).float()}


def test_fid_is_the_same_in_any_order_batches_and_ranks():
    expected = frechet_distance(moments(SIDES["real"]), moments(SIDES["fake"]))
    flipped = feed(FID(), {side: rows.flip(0) for side, rows in SIDES.items()}, batch=7)
    shares = [slice(0, 10), slice(10, None), slice(0, 0)]
    ranks = on_ranks(3, lambda table: feed(FID(), SIDES, batch=4, only=shares[table.rank]).compute(table))
    for scores in (feed(FID(), SIDES).compute(), flipped.compute(), *ranks):
        assert scores["fid"].value == pytest.approx(expected, rel=1e-12)
        assert scores["fid"].facts == {"rows": {"real": 60, "fake": 45}, "dimensions": 5}
        assert not scores["fid"].notes


def test_fid_forgets_what_it_saw_before_a_reset():
    measure = feed(FID(), {"real": drawn(9, 5), "fake": drawn(9, 5)})
    measure.reset()
    assert feed(measure, SIDES).compute() == feed(FID(), SIDES).compute()


def test_fid_warns_of_a_singular_covariance_on_the_side_that_has_it():
    score = feed(FID(), {"real": SIDES["real"], "fake": SIDES["fake"][:5]}).compute()["fid"]
    assert len(score.notes) == 1
    assert "the generated side has 5 rows for 5 feature dimensions" in score.notes[0]
    assert "use kid" in score.notes[0]


def test_fid_needs_two_rows():
    with pytest.raises(UserError, match=r"fid needs at least 2 rows: the generated side has 1"):
        feed(FID(), {"real": SIDES["real"], "fake": SIDES["fake"][:1]}).compute()


# Intra-FID


LABELS = {"real": torch.arange(60) % 3, "fake": torch.arange(45) % 3}


def by_class(label):
    real, fake = (SIDES[side][LABELS[side] == label] for side in ("real", "fake"))
    return frechet_distance(moments(real), moments(fake))


def test_intra_fid_is_the_mean_over_classes_in_any_order_batches_and_ranks():
    each = {str(label): by_class(label) for label in range(3)}
    shares = [slice(0, 1), slice(1, 2), slice(2, None)]  # ranks 0 and 1 see one class each
    ranks = on_ranks(3, lambda t: feed(IntraFID(), SIDES, only=shares[t.rank], labels=LABELS).compute(t))
    backwards = torch.arange(45).flip(0)
    sides = {"real": SIDES["real"][:45], "fake": SIDES["fake"]}
    turned = feed(IntraFID(), sides, batch=4, order=backwards, labels=LABELS).compute()
    straight = feed(IntraFID(), sides, labels=LABELS).compute()
    assert turned["intra_fid"].value == pytest.approx(straight["intra_fid"].value, rel=1e-12)
    for scores in (feed(IntraFID(), SIDES, labels=LABELS).compute(), *ranks):
        score = scores["intra_fid"]
        assert score.facts["classes"] == pytest.approx(each, rel=1e-12)
        assert score.value == pytest.approx(sum(each.values()) / 3, rel=1e-12)
        assert not score.notes


def judged(real, fake):
    """Intra-FID of rows in two dimensions with the given labels."""
    labels = {"real": torch.tensor(real), "fake": torch.tensor(fake)}
    sides = {side: drawn(len(each), 2, seed=k) for k, (side, each) in enumerate(labels.items())}
    return feed(IntraFID(), sides, labels=labels).compute()["intra_fid"]


def test_intra_fid_names_classes_that_cannot_be_compared():
    with pytest.raises(UserError, match="of none of the real rows' classes"):
        judged([0, 0, 1, 1], [2, 2, 3])
    with pytest.raises(UserError, match="no generated rows of class 7:"):
        judged([0, 0, 7, 7], [0, 0, 0])
    with pytest.raises(UserError, match="no generated rows of classes 1, 2, 3, 4, 5 and 2 more:"):
        judged([*range(8), 0], [0, 0])
    with pytest.raises(UserError, match="the generated side has 1 of class 4"):
        judged([0, 0, 4, 4], [0, 0, 4])


def test_intra_fid_notes_classes_with_few_rows_and_those_without_real_ones():
    few, extra = judged([0] * 9 + [1] * 2, [0] * 9 + [1] * 9 + [5]).notes
    assert "rows than feature dimensions in class 1:" in few
    assert "generated rows of class 5 are left out" in extra


def test_intra_fid_needs_labels():
    with pytest.raises(UserError, match="needs labels"):
        feed(IntraFID(), SIDES)
