"""Memorisation: the two scores by hand, and on models that copy, generalise and stray."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from simulacra.errors import UserError
from simulacra.metrics.measure import Seen
from simulacra.metrics.memorisation import Memorisation, MemorisationConfig, copies, looks_memorised, nearer


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def measured(train, fake, held_out, batch=None, first=0, **options):
    measure = Memorisation(MemorisationConfig(**options))
    for side, rows in (("held_out", held_out), ("fake", fake), ("real", train)):
        index = torch.arange(len(rows)) if batch is None else torch.randperm(len(rows))
        for part in index.split(batch or len(rows)):
            measure.update(side, Seen(part + first, rows[part]))
    return measure.compute()


def test_the_probability_of_lying_nearer_by_hand():
    """Pairs of {1, 2} and {2, 3}: 1 < 2, 1 < 3, 2 = 2, 2 < 3, so (3 + ½) / 4 = 0.875.

    Shares of {2, 3} above 1 and 2: 1 and ¾, variance 1/32; of {1, 2} below 2 and 3: ¾ and 1, the same; so the error is
    √(1/64 + 1/64) = √(1/32). With equal laws it is √(5 / 48), and z = 0.375 / √(5/48).
    """
    found = nearer(torch.tensor([2.0, 1.0]), torch.tensor([2.0, 3.0]))
    assert found.probability == 0.875
    assert found.error == pytest.approx((1 / 32) ** 0.5)
    assert found.z == pytest.approx(0.375 / (5 / 48) ** 0.5)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=30), st.lists(st.integers(0, 9), min_size=2, max_size=30))
@settings(deadline=None)
def test_the_probability_is_mann_and_whitneys_statistic(a, b):
    """Scipy counts the pairs in which the first sample is larger; and one side's share is what the other's lacks."""
    one, other = torch.tensor(a).float(), torch.tensor(b).float()
    statistic = mannwhitneyu(b, a).statistic
    assert nearer(one, other).probability == pytest.approx(statistic / (len(a) * len(b)))
    assert nearer(one, other).probability + nearer(other, one).probability == pytest.approx(1)


def test_the_z_score_is_scipys_where_nothing_ties():
    a, b = drawn(40), 0.3 + drawn(30, seed=1)
    z = nearer(a, b).z
    two_sided = mannwhitneyu(a, b, method="asymptotic", use_continuity=False).pvalue
    assert torch.special.erfc(torch.tensor(abs(z) / 2**0.5)).item() == pytest.approx(two_sided, rel=1e-5)


def test_the_standard_error_is_the_spread_over_repetitions():
    values = [nearer(drawn(60, seed=s), 0.5 + 2 * drawn(40, seed=1000 + s)) for s in range(400)]
    spread = torch.tensor([value.probability for value in values]).std().item()
    claimed = torch.tensor([value.error for value in values]).mean().item()
    assert claimed == pytest.approx(spread, rel=4 / (2 * 400) ** 0.5)  # a standard deviation is known to 1/√(2·400)


def test_copies_by_hand():
    """Held-out distances 1 … 200: all but the two nearest are at least 3, and 1, 2 and 2.5 are nearer than that. By
    chance the share has the law Beta(3, 198): 3/201."""
    few = copies(torch.tensor([1.0, 2.0, 2.5, 3.0, 4.0]), torch.arange(1.0, 201.0))
    assert few.share == pytest.approx(0.6)
    assert few.chance == pytest.approx(3 / 201)


def test_chance_is_what_equal_laws_give():
    """Over 300 repetitions the mean is known to the claimed error / √300."""
    found = [copies(drawn(100, seed=s), drawn(150, seed=1000 + s)) for s in range(300)]
    shares = torch.tensor([few.share for few in found])
    assert shares.mean().item() == pytest.approx(found[0].chance, abs=3 * found[0].chance_error / 300**0.5)
    assert shares.std().item() == pytest.approx(found[0].chance_error, rel=0.25)


@pytest.mark.parametrize("width", [4, 200])
def test_a_model_that_repeats_its_training_rows_is_found_out(width):
    train, test = drawn(500, width), drawn(300, width, seed=1)
    copied = train[:300] + 1e-3 * drawn(300, width, seed=2)
    scores = measured(train, copied, test)
    assert scores["memorised"].value > 0.999
    assert scores["copies"].value > 0.99
    assert "looks memorised" in scores["memorised"].notes[0]


@pytest.mark.parametrize("width", [4, 200])
def test_fresh_draws_of_the_same_law_are_at_chance(width):
    scores = measured(drawn(500, width), drawn(400, width, seed=1), drawn(300, width, seed=2))
    memorised, few = scores["memorised"], scores["copies"]
    assert abs(memorised.value - 0.5) < 3 * memorised.standard_error
    assert abs(few.value - few.facts["chance"]) < 3 * few.facts["chance_error"]
    assert few.facts["chance"] == pytest.approx(4 / 301)
    assert not memorised.notes


def test_samples_that_stray_are_farther_than_held_out_rows():
    scores = measured(drawn(500, 4), 2 * drawn(400, 4, seed=1), drawn(300, 4, seed=2))
    assert scores["memorised"].value < 0.4
    assert scores["memorised"].facts["z"] < -3
    assert not scores["memorised"].notes


def test_nearer_rows_without_copies_do_not_look_memorised():
    """Distances a little smaller, but none below all held-out ones: a dull model, not one that copies."""
    theirs = 1 + torch.arange(1000.0) / 1000
    near, few = nearer(1.1 + 0.5 * torch.arange(1000.0) / 1000, theirs), copies(1.1 + theirs / 9, theirs)
    assert near.z > 3
    assert not looks_memorised(near, few)


def test_the_nearest_pairs_are_listed_by_the_rows_own_numbers():
    """Training rows 7, 8, 9 at 0, 10, 20, generated rows 7 … 10 at 13, 20.5, 1, 100: distances 3, ½, 1, 80."""
    train, fake, test = (torch.tensor(xs)[:, None] for xs in ([0.0, 10, 20], [13.0, 20.5, 1, 100], [4.0, 5]))
    facts = measured(train, fake, test, first=7, shown=3)["memorised"].facts
    assert facts["nearest"] == [[8, 9, 0.5], [9, 7, 1.0], [7, 8, 3.0]]
    assert facts["rows"] == {"real": 3, "fake": 4, "held_out": 2}
    assert measured(train, fake, test, shown=0)["memorised"].facts["nearest"] == []


def test_the_limit_is_of_judged_rows_and_batches_change_nothing():
    train, fake, test = drawn(90, 3), drawn(80, 3, seed=1), drawn(70, 3, seed=2)
    assert measured(train, fake, test, batch=13) == measured(train, fake, test)
    limited = measured(train, fake, test, rows=50)
    assert limited == measured(train, fake[:50], test[:50])
    assert limited["memorised"].facts["rows"]["real"] == 90


def test_a_single_row_is_too_few():
    with pytest.raises(UserError, match="memorisation needs at least 2 rows: the held-out side has 1"):
        measured(drawn(5, 2), drawn(5, 2), drawn(1, 2))
