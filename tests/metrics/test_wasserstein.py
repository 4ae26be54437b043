"""Wasserstein distances against their closed forms, scipy and POT."""

import sys
import warnings
from math import gcd

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simulacra.errors import UserError
from simulacra.metrics import wasserstein as module
from simulacra.metrics.measure import Seen
from simulacra.metrics.wasserstein import ExactWasserstein, SlicedWasserstein, coupling, directions, projected
from tests.checks.ranks import on_ranks


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def told(measure, real, fake):
    """What the measure says of two sides that it sees whole."""
    measure.update("real", Seen(torch.arange(len(real)), real))
    measure.update("fake", Seen(torch.arange(len(fake)), fake))
    (score,) = measure.compute().values()
    return score


def config(kind, **options):
    return kind(kind.Config(**options))


# In one dimension


def test_coupling_of_two_and_three_points():
    """Masses 1/2, 1/2 to 1/3, 1/3, 1/3: the first gives 1/3 and 1/6, the second 1/6 and 1/3."""
    i, j, mass = coupling(2, 3)
    assert i.tolist() == [0, 0, 1, 1]
    assert j.tolist() == [0, 1, 1, 2]
    assert mass.tolist() == pytest.approx([1 / 3, 1 / 6, 1 / 6, 1 / 3])


@given(st.integers(1, 60), st.integers(1, 60))
def test_a_coupling_moves_all_mass_and_never_crosses(n, m):
    i, j, mass = coupling(n, m)
    assert len(mass) == n + m - gcd(n, m)
    assert (mass > 0).all()
    assert torch.allclose(torch.bincount(i, mass), torch.full((n,), 1 / n, dtype=torch.float64))
    assert torch.allclose(torch.bincount(j, mass), torch.full((m,), 1 / m, dtype=torch.float64))
    assert (i.diff() >= 0).all()
    assert (j.diff() >= 0).all()


NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(NUMBERS, NUMBERS)
def test_on_a_line_it_is_scipys_distance(a, b):
    x, y = (torch.tensor(values, dtype=torch.float64)[:, None] for values in (a, b))
    found = projected(x, y, torch.ones(1, 1, dtype=torch.float64), 1).item()
    assert found == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-9, abs=1e-6)


def test_squares_on_a_line_by_hand():
    """{0, 3} against {1, 1, 5}: 1/3 · 1² + 1/6 · 1² + 1/6 · 2² + 1/3 · 2² = 2.5."""
    x, y = torch.tensor([[3.0], [0.0]]), torch.tensor([[1.0], [5.0], [1.0]])
    assert projected(x, y, torch.ones(1, 1, dtype=torch.float64), 2).item() == pytest.approx(2.5)


# Sliced


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("n", [300, 217])
def test_sliced_is_what_pot_says(n, power):
    x, y = drawn(n, 5), 1.3 * drawn(300, 5, seed=1) + 0.2
    found = told(config(SlicedWasserstein, power=power, directions=130), x, y).value
    along = directions(5, 0, 130, 0).numpy()
    expected = ot.sliced_wasserstein_distance(x.double().numpy(), y.double().numpy(), projections=along, p=power)
    assert found == pytest.approx(float(expected), abs=1e-6)


def test_directions_are_of_unit_length_even_and_functions_of_their_number():
    along = directions(4, 0, 4000, 3)
    assert torch.allclose(along.norm(dim=0), torch.ones(4000, dtype=torch.float64))
    assert (along.mean(1).abs() < 4 * 0.5 / 4000**0.5).all()
    assert (along @ along.T / 4000 - torch.eye(4) / 4).abs().max() < 0.02
    assert torch.equal(directions(4, 100, 120, 3), along[:, 100:120])
    assert not torch.equal(directions(4, 0, 20, 4), along[:, :20])


def test_a_shift_is_its_length_over_the_root_of_the_dimensions():
    """W_2 along θ is |θ·c|, and E(θ·c)² = |c|²/D; here |c| = 5 and D = 9."""
    x, c = drawn(50, 9), torch.tensor([3.0, 4.0, *[0.0] * 7])
    score = told(config(SlicedWasserstein, directions=2000), x, x + c)
    assert abs(score.value - 5 / 3) < 4 * score.standard_error
    along = directions(9, 0, 2000, 0)
    assert score.value == pytest.approx((c.double() @ along).square().mean().sqrt().item(), abs=1e-5)


def test_the_standard_error_is_the_spread_over_seeds():
    x, y = drawn(40, 3), drawn(40, 3, seed=1) * torch.tensor([1.0, 3.0, 0.2])
    scores = [told(config(SlicedWasserstein, directions=50, seed=seed), x, y) for seed in range(60)]
    spread = np.std([score.value for score in scores], ddof=1)
    assert np.mean([score.standard_error for score in scores]) == pytest.approx(spread, rel=0.3)


def test_equal_sides_are_no_distance_apart():
    x = drawn(30, 4)
    y = x[drawn(30, seed=1).argsort()]
    score = told(SlicedWasserstein(), x, y)
    assert (score.value, score.standard_error) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert told(ExactWasserstein(), x, y).value == 0.0
    one = torch.ones(3, 4)
    assert told(SlicedWasserstein(), one, one).standard_error == 0.0


# Exact


def test_exact_distances_by_hand():
    """Points 0 and (3, 4) moved to (0, 1) and (3, 5): both by 1. The other pairing costs 5.66 and 4.24."""
    x, y = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[3.0, 5.0], [0.0, 1.0]])
    assert told(config(ExactWasserstein, power=1), x, y).value == pytest.approx(1.0)
    y[1, 1] = 2.0  # moved by 1 and by 2
    assert told(config(ExactWasserstein, power=1), x, y).value == pytest.approx(1.5)
    assert told(config(ExactWasserstein, power=2), x, y).value == pytest.approx(2.5**0.5)


@pytest.mark.parametrize("power", [1, 2])
def test_a_shift_is_its_length(power):
    x = drawn(40, 3).double()
    score = told(config(ExactWasserstein, power=power), x, x + torch.tensor([2.0, 3.0, 6.0]))
    assert score.value == pytest.approx(7.0)
    assert score.facts["rows"] == {"real": 40, "fake": 40}


@given(NUMBERS, NUMBERS)
@settings(deadline=None, max_examples=30)
def test_exact_on_a_line_is_scipys_distance_for_any_numbers_of_rows(a, b):
    x, y = (torch.tensor(values, dtype=torch.float64)[:, None] for values in (a, b))
    expected = stats.wasserstein_distance(a, b)
    assert module.wasserstein(x, y) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_sliced_bounds_exact_from_below():
    x, y = drawn(100, 6), drawn(80, 6, seed=1) + 0.5
    sliced = told(config(SlicedWasserstein, power=2), x, y).value
    assert 0 < sliced < told(config(ExactWasserstein, power=2), x, y).value


def test_the_distance_of_finite_sets_of_one_law_falls_with_their_number():
    x, y = drawn(400, 5), drawn(400, 5, seed=1)
    values = [told(config(ExactWasserstein, rows=rows), x, y).value for rows in (25, 100, 400)]
    assert values == sorted(values, reverse=True)
    assert told(ExactWasserstein(), x, y).notes


def test_an_unfinished_solution_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "ITERATIONS", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match="fewer rows than 200"):
            told(ExactWasserstein(), drawn(200, 3), drawn(200, 3, seed=1))


def test_without_pot_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(UserError, match=r"pip install 'simulacra\[transport\]'"):
        told(ExactWasserstein(), drawn(5, 3), drawn(5, 3, seed=1))


# As measures


@pytest.mark.parametrize("kind", [SlicedWasserstein, ExactWasserstein])
def test_order_and_batches_do_not_count_and_the_first_rows_do(kind):
    x, y = drawn(50, 3), drawn(60, 3, seed=1)
    whole = told(config(kind, rows=20), x[:20], y[:20])
    measure, order = config(kind, rows=20), drawn(50, seed=2).argsort()
    for part in order.split(7):
        measure.update("real", Seen(part, x[part]))
    measure.update("fake", Seen(torch.arange(60), y))
    (score,) = measure.compute().values()
    assert score == whole
    assert score.facts["rows"] == {"real": 20, "fake": 20}


@pytest.mark.parametrize("kind", [SlicedWasserstein, ExactWasserstein])
def test_three_ranks_say_what_one_says(kind):
    x, y = drawn(50, 3), drawn(60, 3, seed=1)

    def play(table):
        measure = kind()
        for side, rows in (("real", x), ("fake", y)):
            index = torch.arange(len(rows))[table.rank :: 3]
            measure.update(side, Seen(index, rows[index]))
        (score,) = measure.compute(table).values()
        return score

    found, alone = on_ranks(3, play), told(kind(), x, y)
    assert found[0] == found[1] == found[2]
    assert found[0].value == pytest.approx(alone.value, rel=1e-12)
    assert found[0].facts == alone.facts
    if alone.standard_error:
        assert found[0].standard_error == pytest.approx(alone.standard_error, rel=1e-9)
