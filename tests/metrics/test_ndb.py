"""Number of statistically different bins: its test by hand and against scipy, and its level under the null."""

from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency

from simulacra.data.worlds.points import RING, draw
from simulacra.errors import UserError
from simulacra.metrics.measure import Seen
from simulacra.metrics.ndb import NDB, Bins, NDBConfig, cell_centres, jensen_shannon, z_scores


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def measured(real, fake, batch=None, **options):
    measure = NDB(NDBConfig(**options))
    for side, rows in (("real", real), ("fake", fake)):
        index = torch.arange(len(rows)) if batch is None else torch.randperm(len(rows))
        for part in index.split(batch or len(rows)):
            measure.update(side, Seen(part, rows[part]))
    return measure.compute()


def bins(real, fake):
    return Bins(torch.tensor(real), torch.tensor(fake))


def test_the_z_score_by_hand():
    """10 of 100 real and 10 of 50 generated rows: p = 0.1, q = 0.2, together r = 20/150 = 2/15, and
    r(1 − r)(1/100 + 1/50) = (2/15)(13/15)(3/100) = 78/22500, so z = 0.1 / √0.0034667 = 1.69842; the rest, −z."""
    z = z_scores(bins([10, 90], [10, 40]))
    assert z.tolist() == pytest.approx([1.69842, -1.69842], abs=1e-5)


counts = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=8)


@given(counts.filter(lambda pairs: all(sum(side) for side in zip(*pairs))))
@settings(deadline=None)
def test_the_square_of_z_is_pearsons_chi_square(pairs):
    """Of the 2 × 2 table of a bin and the rest, without continuity correction."""
    found = bins(*zip(*pairs))
    n, m = (sum(side) for side in zip(*pairs))
    for z, (real, fake) in zip(z_scores(found).tolist(), pairs):
        if 0 < real + fake < n + m:
            chi2 = chi2_contingency([[real, n - real], [fake, m - fake]], correction=False).statistic
            assert z**2 == pytest.approx(chi2, abs=1e-9)
        else:
            assert z == 0


@given(counts.filter(lambda pairs: all(sum(side) for side in zip(*pairs))))
@settings(deadline=None)
def test_the_divergence_is_the_square_of_scipys_distance(pairs):
    real, fake = zip(*pairs)
    assert jensen_shannon(bins(real, fake)) == pytest.approx(jensenshannon(real, fake) ** 2, abs=1e-12)


def test_the_divergence_by_hand():
    """Shares (½, ½) and (1, 0), mean (¾, ¼): ½[½ ln(2/3) + ½ ln 2] + ½ ln(4/3) = ½ ln(2/√3) + ½ ln(4/3)."""
    assert jensen_shannon(bins([4, 4], [9, 0])) == pytest.approx(0.5 * log(2 / 3**0.5) + 0.5 * log(4 / 3))
    assert jensen_shannon(bins([5, 0], [0, 3])) == pytest.approx(log(2))
    assert jensen_shannon(bins([5, 1], [10, 2])) == pytest.approx(0, abs=1e-15)


def test_samples_of_the_real_law_differ_at_the_level_of_the_test():
    """20 pairs of samples, 25 bins each: 500 tests of which 5 % are expected, give or take √(0.05 · 0.95 / 500)."""
    shares, divergences = zip(
        *(
            [score.value for score in measured(drawn(1500, 2, seed=s), drawn(1000, 2, seed=100 + s), bins=25).values()]
            for s in range(20)
        )
    )
    assert sum(shares) / 20 == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / 500) ** 0.5)
    # 8/(1/n + 1/m) times the divergence is about χ² of 24 degrees of freedom: mean 24, variance 48.
    chance = 24 / 8 * (1 / 1500 + 1 / 1000)
    assert sum(divergences) / 20 == pytest.approx(chance, abs=3 * chance / 24 * (48 / 20) ** 0.5)


def test_what_chance_gives_is_told():
    scores = measured(drawn(1500, 2), drawn(1000, 2, seed=1), bins=25, significance=0.01)
    assert scores["ndb"].facts["chance"] == 0.01
    assert scores["ndb_js"].facts["chance"] == pytest.approx(24 / 8 * (1 / 1500 + 1 / 1000))


def test_the_same_rows_differ_nowhere():
    rows = drawn(300, 3)
    scores = measured(rows, rows.flip(0), bins=10)
    assert (scores["ndb"].value, scores["ndb_js"].value) == (0.0, pytest.approx(0, abs=1e-12))


def test_a_lost_mode_is_a_different_bin():
    """Eight modes in eight bins, the generated rows in seven of them: all eight shares differ, about 1/8 against 0 or
    1/7, by far enough for 10 000 rows; bins are modes, so the divergence is that of the labels."""
    points, modes = draw(RING, "test")
    rows = torch.from_numpy(points)
    scores = measured(rows, rows[torch.from_numpy(modes) > 0], bins=8)
    real = np.bincount(modes)
    assert scores["ndb"].value == 1.0
    assert scores["ndb_js"].value == pytest.approx(jensenshannon(real, [0, *real[1:]]) ** 2)


def test_batches_change_nothing_and_the_limit_is_kept():
    real, fake = drawn(300, 5), 1.3 * drawn(200, 5, seed=1)
    assert measured(real, fake, batch=31, bins=7) == measured(real, fake, bins=7)
    limited = measured(real, fake, bins=7, rows=100)
    assert limited == measured(real[:100], fake[:100], bins=7)
    assert limited["ndb"].facts["rows"] == {"real": 100, "fake": 100}


def test_cells_are_a_function_of_rows_and_seed():
    rows = drawn(200, 4)
    before = torch.get_rng_state()
    assert torch.equal(cell_centres(rows, 9, 0), cell_centres(rows, 9, 0))
    assert not torch.equal(cell_centres(rows, 9, 0), cell_centres(rows, 9, 1))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.filterwarnings("error")
def test_more_bins_than_distinct_real_rows_are_refused():
    with pytest.raises(UserError, match=r"100 bins need as many real rows, and there are 60: choose fewer ndb\.bins"):
        measured(drawn(60, 2), drawn(60, 2))
    few = drawn(5, 2).repeat(20, 1)
    with pytest.raises(UserError, match=r"only 5 of 8 bins hold real rows"):
        measured(few, drawn(60, 2), bins=8)
