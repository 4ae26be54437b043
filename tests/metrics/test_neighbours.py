"""Distances against other implementations, and precision, recall, density and coverage against numbers by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from torch_fidelity.metric_prc import calculate_precision_recall_full, calculate_precision_recall_part

from simulacra.errors import UserError
from simulacra.metrics import distances
from simulacra.metrics.distances import between, nearest, tiles
from simulacra.metrics.measure import Seen
from simulacra.metrics.neighbours import Neighbours, NeighboursConfig, in_balls

WIDE = 2 * distances.NARROW  # features of this width are multiplied in float32


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_a_line(*numbers, width=1):
    """The numbers as points [N, width], all on the first axis."""
    points = torch.zeros(len(numbers), width)
    points[:, 0] = torch.tensor(numbers)
    return points


def measured(real, fake, batch=None, order=None, **options):
    measure = Neighbours(NeighboursConfig(**options))
    for side, rows in (("real", real), ("fake", fake)):
        index = torch.arange(len(rows)) if order is None else torch.randperm(len(rows), generator=order)
        for part in index.split(batch or len(rows)):
            measure.update(side, Seen(part, rows[part]))
    return measure.compute()


def values(scores):
    return {name: score.value for name, score in scores.items()}


def plain(a, b):
    """All distances [N, M] in float64, from differences."""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")


def radius(rows, k):
    return plain(rows, rows).sort(1).values[:, k]  # the 0th is the row itself


# Distances


@pytest.mark.parametrize("width", [3, WIDE])
def test_nearest_rows_are_what_scikit_learn_finds(width):
    queries, reference = drawn(300, width), drawn(500, width, seed=1)
    expected, rows = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(reference).kneighbors(queries)
    found = nearest(queries, reference, 4)
    assert (found.distances.dtype, found.indices.dtype) == (torch.float32, torch.int64)
    assert np.allclose(found.distances, expected, rtol=1e-5)
    assert np.array_equal(found.indices, rows)


@pytest.mark.parametrize("width", [3, WIDE])
@pytest.mark.parametrize("tile", [7, 64, 4096])
def test_a_row_is_no_neighbour_of_itself_in_tiles_of_any_size(monkeypatch, width, tile):
    monkeypatch.setattr(distances, "TILE", tile)
    rows = drawn(150, width)
    expected, others = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(rows).kneighbors()
    found = nearest(rows, rows, 5, skip_self=True)
    assert np.allclose(found.distances, expected, rtol=1e-5)
    assert np.array_equal(found.indices, others)


def test_equal_rows_are_at_distance_nought_and_near_ones_where_they_are():
    """Far from the origin, where ‖a‖² + ‖b‖² − 2 a·b in float32 is nothing but rounding."""
    rows = 1000 + drawn(200, WIDE)
    moved = rows.clone()
    moved[:, 0] += 0.125
    found = nearest(torch.cat([rows, moved]), rows, 1)
    assert found.indices[:, 0].tolist() == [*range(200), *range(200)]
    assert found.distances[:200, 0].eq(0).all()
    assert torch.allclose(found.distances[200:, 0], torch.tensor(0.125), rtol=1e-3, atol=0)  # 1000 + x rounds to 6e-5


def test_a_duplicate_is_a_neighbour():
    rows = drawn(6, WIDE)
    rows[3] = rows[1]
    found = nearest(rows, rows, 1, skip_self=True)
    assert (found.distances[1].item(), found.indices[1].item(), found.indices[3].item()) == (0.0, 3, 1)


def test_a_distance_is_one_number_from_either_end():
    a, b = drawn(50, 1000), drawn(50, 1000, seed=1)
    i, j = torch.arange(50), torch.arange(50).flip(0)
    assert torch.equal(between(a, b, i, j), between(b, a, j, i))
    assert torch.allclose(between(a, b, i, j).double(), plain(a, b)[i, j], rtol=1e-7, atol=0)


@pytest.mark.parametrize("width", [2, WIDE])
def test_tiles_hold_every_pair_once_within_their_slack(monkeypatch, width):
    monkeypatch.setattr(distances, "TILE", 30)
    a, b = 5 + drawn(70, width), drawn(100, width, seed=1)
    squared, seen = torch.zeros(70, 100), torch.zeros(70, 100)
    for tile in tiles(a, b):
        seen[tile.rows, tile.columns] += 1
        assert (tile.squared - plain(tile.left, tile.right).square()).abs().max() < tile.slack
        squared[tile.rows, tile.columns] = tile.squared.float()
    assert seen.eq(1).all()
    assert torch.allclose(squared.double(), plain(a, b).square(), rtol=1e-4)


def test_half_of_the_tiles_are_enough_for_both_directions(monkeypatch):
    monkeypatch.setattr(distances, "TILE", 10)
    rows = drawn(30, 2)
    assert len(list(tiles(rows, rows))) == 9
    assert len(list(tiles(rows, rows, half=True))) == 6


def test_too_few_rows_and_skipping_among_others_are_refused():
    rows = drawn(3, 2)
    with pytest.raises(ValueError, match="3 nearest of 2 rows"):
        nearest(rows, rows, 3, skip_self=True)
    with pytest.raises(ValueError, match="queries are the reference"):
        nearest(rows, rows.clone(), 1, skip_self=True)


# The scores, by hand

REAL, FAKE = (0.0, 1.0, 3.0, 10.0), (4.0, 11.0, 18.0, 18.5)
"""k = 1. Nearest other real row: 0→1, 1→0, 3→1, 10→3, so balls [−1, 1], [0, 2], [1, 5], [3, 17]: of the generated rows
they hold 4 and 11, precision 2/4. Nearest other generated row: 4→11, 11→4 or 18, 18→18.5, 18.5→18, so balls [−3, 11],
[4, 18], [17.5, 18.5], [18, 19]: the first holds all real rows, recall 4/4.

density_k = 2. Second nearest real row: 0→3, 1→3, 3→0, 10→1, so balls [−3, 3], [−1, 3], [0, 6], [1, 19]: 4 is in two of
them, 11, 18 and 18.5 in one each, density (2 + 1 + 1 + 1) / (2 · 4) = 5/8; two of the four balls are not empty,
coverage 2/4."""


@pytest.mark.parametrize("width", [1, WIDE])
def test_all_four_scores_by_hand(width):
    scores = measured(on_a_line(*REAL, width=width), on_a_line(*FAKE, width=width), k=1, density_k=2)
    assert values(scores) == {"precision": 0.5, "recall": 1.0, "density": 0.625, "coverage": 0.5}
    # Binomial √(½ · ½ / 4) = ¼; rows' own densities are 1, ½, ½, ½: variance 3/16 / 3 = 1/16, √(1/16 / 4) = ⅛.
    errors = {name: score.standard_error for name, score in scores.items()}
    assert errors == {"precision": 0.25, "recall": 0.0, "density": 0.125, "coverage": 0.25}
    assert scores["precision"].facts == {"k": 1, "rows": {"real": 4, "fake": 4}, "error": "binomial"}


def test_the_radius_is_the_references_and_the_sides_are_not_swapped():
    real, fake = on_a_line(*REAL), on_a_line(*FAKE)
    scores = values(measured(real, fake, k=1, density_k=2))
    between_sides = plain(fake, real)
    # The lecture's formula: a generated row's distance to real rows against that to its own k-th real row. Always 1.
    at_query = (between_sides.min(1).values <= between_sides.sort(1).values[:, 0]).double().mean()
    assert at_query == 1.0 != scores["precision"]
    # The radius of the row asked about, in its own sample: 0 is 4 from 4 but 1 from 1, 1 is 3 from 4, 3 is 1 from 4 and
    # 2 from 1, 10 is 1 from 11 and 7 from 3: two of four.
    at_row = (between_sides.T.min(1).values <= radius(real, 1)).double().mean()
    assert at_row == 0.5 != scores["recall"]
    swapped = values(measured(fake, real, k=1, density_k=2))
    assert (swapped["precision"], swapped["recall"]) == (1.0, 0.5)


def test_a_row_at_the_edge_of_a_ball_is_inside():
    """Real 0 and 1 have balls [−1, 1] and [0, 2]: 2 is at the edge, 2.001 is out. The generated radius is 0.001."""
    scores = values(measured(on_a_line(0.0, 1.0), on_a_line(2.0, 2.001), k=1, density_k=1))
    assert (scores["precision"], scores["recall"]) == (0.5, 0.0)


@pytest.mark.parametrize("width", [2, WIDE])
def test_a_sample_covers_itself(width):
    rows = drawn(60, width)
    scores = values(measured(rows, rows.flip(0)))
    assert (scores["precision"], scores["recall"], scores["coverage"]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("width", [2, WIDE])
def test_samples_far_apart_have_nothing_in_common(width):
    scores = measured(drawn(60, width), 100 + drawn(60, width, seed=1))
    assert set(values(scores).values()) == {0.0}


def test_samples_of_one_law_have_the_coverage_of_the_lemma_and_density_one():
    """1 − (n − 1)…(n − 5) / ((2n − 1)…(2n − 5)), nearly 1 − 2⁻⁵ = 0.96875."""
    scores = measured(drawn(2000, 4), drawn(2000, 4, seed=1))
    of_equal_laws = scores["coverage"].facts["of_equal_laws"]
    assert of_equal_laws == pytest.approx(0.96875, abs=1e-3)
    assert scores["coverage"].value == pytest.approx(of_equal_laws, abs=4 * scores["coverage"].standard_error)
    assert scores["density"].value == pytest.approx(1.0, abs=4 * scores["density"].standard_error)


# Invariants, and other implementations


@pytest.mark.parametrize(("batch", "seed"), [(1, 0), (17, 1), (60, 2)])
def test_batches_and_order_change_nothing(batch, seed):
    real, fake = drawn(60, WIDE), 1.2 * drawn(60, WIDE, seed=1)
    shuffled = measured(real, fake, batch=batch, order=torch.Generator().manual_seed(seed))
    assert shuffled == measured(real, fake)


def test_equal_numbers_of_both_sides_are_compared():
    real, fake = drawn(90, 3), drawn(50, 3, seed=1)
    few = measured(real, fake)
    assert few == measured(real[:50], fake)
    assert few["recall"].facts["rows"] == {"real": 50, "fake": 50}
    assert measured(real, fake, rows=40) == measured(real[:40], fake[:40])


def whole(draw_from, n, width, seed):
    """Rows [n, width] of multiples of ⅛, with ties and duplicates, or of a Gaussian's numbers."""
    rows = drawn(n, width, seed=seed)
    return (rows * 4).round() / 8 if draw_from == "lattice" else rows


@given(
    n=st.integers(5, 40),
    width=st.sampled_from([1, 2, 8, WIDE]),
    k=st.integers(1, 4),
    density_k=st.integers(1, 4),
    law=st.sampled_from(["lattice", "gauss"]),
    tile=st.sampled_from([3, 8, 64]),
    doubts=st.sampled_from([0, distances.DOUBTS]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_balls_hold_what_brute_force_says(n, width, k, density_k, law, tile, doubts, seed):
    real, fake = whole(law, n, width, seed), 0.5 * whole(law, n, width, seed + 1)
    apart = plain(fake, real)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "TILE", tile)
        patch.setattr(distances, "DOUBTS", doubts)
        found = in_balls(real, fake, k, density_k)
    inside = apart <= radius(real, density_k)[None]
    assert torch.equal(found.precise, (apart <= radius(real, k)[None]).any(1))
    assert torch.equal(found.recalled, (apart <= radius(fake, k)[:, None]).any(0))
    assert torch.equal(found.inside, inside.sum(1))
    assert torch.equal(found.covered, inside.any(0))


@pytest.mark.parametrize("theirs", [calculate_precision_recall_part, calculate_precision_recall_full])
@pytest.mark.parametrize("width", [16, 512])
def test_precision_and_recall_are_torch_fidelitys(theirs, width):
    """On low-dimensional data in many dimensions, with fewer modes and other widths on the generated side."""
    basis = drawn(6, width, seed=9)
    real = drawn(700, 6) @ basis + 0.1 * drawn(700, width, seed=2)
    fake = 0.8 * drawn(700, 6, seed=1) @ basis + 0.12 * drawn(700, width, seed=3)
    precision, recall = theirs(fake, real, 3)
    assert 0.05 < recall < precision < 0.99
    scores = values(measured(real, fake))
    assert scores["precision"] == pytest.approx(precision, rel=1e-4)
    assert scores["recall"] == pytest.approx(recall, rel=1e-4)


@pytest.mark.parametrize("copies", [30, 300])
def test_masses_of_duplicates_have_balls_of_no_radius(copies):
    """Ten distinct real rows, many times over; of the generated rows half repeat them and half are a little off. With
    300 copies there are 10 · 300² pairs at the edge, more than are decided one by one."""
    distinct = 3 * drawn(10, WIDE)
    real = distinct.repeat(copies, 1)
    fake = real.clone()
    fake[::2] += 0.1
    assert (10 * copies**2 > distances.DOUBTS) == (copies == 300)
    scores = values(measured(real, fake))
    assert (scores["precision"], scores["coverage"]) == (0.5, 0.5)


def test_too_few_rows_name_the_option():
    with pytest.raises(UserError, match=r"precision needs at least k \+ 1 = 4 rows on both sides: the generated side"):
        measured(drawn(9, 2), drawn(1, 2))
    with pytest.raises(UserError, match=r"density needs at least density_k \+ 1 = 6 rows .* the real side has 5"):
        measured(drawn(5, 2), drawn(9, 2))
    with pytest.raises(UserError, match=r"precision needs .* neighbours.rows is 3"):
        measured(drawn(9, 2), drawn(9, 2), rows=3)
