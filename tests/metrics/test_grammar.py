"""The share of grammatical strings and their diversity, counted by hand and in closed form."""

from math import log

import pytest
import torch

from simulacra.data.worlds.grammar import LENGTH, count, draw, encode, sentences
from simulacra.errors import UserError
from simulacra.metrics.grammar import Grammar, chance, characters, distinct, from_uniform
from simulacra.metrics.measure import Seen


def measured(rows, batch=None):
    measure = Grammar()
    for part in torch.arange(len(rows)).split(batch or len(rows)):
        measure.update("fake", Seen(part, rows[part]))
    return measure.compute()


def test_strings_by_hand():
    """Of eight strings of at most 3 characters, which has 6 sentences, four are sentences: x twice, x+x, (x).

    Shares ½, ¼, ¼: KL = ln 6 − (½ ln 2 + ½ ln 4) = ln 6 − 1.5 ln 2. The share ½ ± √(¼ / 8)."""
    scores = measured(encode(["x", "x+x", "x", "(x)", "x+", ")", "", "x x"], 3))
    assert scores["grammatical"].value == 0.5
    assert scores["grammatical"].standard_error == pytest.approx((0.25 / 8) ** 0.5)
    assert scores["sentences"].value == 3
    assert scores["sentence_kl"].value == pytest.approx(log(6) - 1.5 * log(2))
    assert scores["sentences"].facts["of"] == 6
    assert scores["sentence_kl"].facts["counted_rows"] == 4


def test_a_row_is_read_by_its_largest_numbers():
    rows = 0.1 * encode(["x*x"], 3) + 0.05
    assert measured(rows)["grammatical"].value == 1.0
    assert characters(rows).tolist() == [[0, 3, 0]]


def test_without_a_sentence_there_is_no_divergence():
    scores = measured(encode(["(", "xx"], 3))
    assert scores["grammatical"].value == scores["sentences"].value == 0
    assert "sentence_kl" not in scores


def test_the_data_are_what_they_should_be():
    """All rows are sentences; those of the test split cover and stray from the uniform law as draws of it do: the
    mean of the divergence is 1476 / 20 000 and a bit, its deviation about √(2 · 1476) / 20 000 = 0.0027."""
    rows = encode(sentences(LENGTH), LENGTH)[torch.from_numpy(draw("test"))]
    scores = measured(rows, batch=999)
    assert scores["grammatical"].value == 1.0
    assert scores["sentences"].value == pytest.approx(scores["sentences"].facts["expected"], abs=6)
    assert scores["sentence_kl"].value == pytest.approx(scores["sentence_kl"].facts["chance"], abs=4 * 0.0027)
    assert scores["sentence_kl"].facts["chance"] == pytest.approx(1476 / 20_000, rel=0.05)


def test_chance_of_two_draws_of_two_values():
    """Both draws agree in half of the cases, ln 2 from uniform; else they are uniform. 1.5 values on average."""
    assert chance(2, 2) == pytest.approx(0.5 * log(2))
    assert distinct(2, 2) == 1.5


def test_a_divergence_is_never_below_zero():
    assert from_uniform([1] * 220, count(7)) == 0.0
    assert from_uniform([5], count(7)) == pytest.approx(log(220))


def test_rows_that_are_no_strings_are_refused():
    with pytest.raises(UserError, match="grammar is of strings one-hot over 8 characters, and rows are 2 numbers wide"):
        measured(torch.zeros(3, 2))
