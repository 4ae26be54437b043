"""The Inception Score where it is known in closed form, by hand, and as torch-fidelity computes it."""

from math import exp, log

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from simulacra.errors import UserError
from simulacra.metrics.inception_score import InceptionScore, InceptionScoreConfig
from simulacra.metrics.measure import Seen
from tests.checks.ranks import on_ranks

LOGITS = 2.0 * torch.randn(103, 7, generator=torch.Generator().manual_seed(0))


def measured(logits, splits=10, batch=1000, order=slice(None), only=slice(None), table=None):
    """The scores of rows with these logits, seen in an order, in batches, or only some of them."""
    measure = InceptionScore(InceptionScoreConfig(splits=splits))
    index = torch.arange(len(logits))[order][only]
    for part in index.split(batch):
        measure.update("fake", Seen(part, torch.zeros(len(part), 2), logits[part]))
    return measure.compute(table)


def one_hot(classes, k=10, sure=1e4):
    """Logits of p(y|x) = 1 for the given classes, to the last bit."""
    return sure * (2.0 * torch.nn.functional.one_hot(torch.tensor(classes), k) - 1.0)


def test_sure_and_evenly_varied_predictions_score_the_number_of_classes():
    scores = measured(one_hot([row % 10 for row in range(100)]))
    assert scores["is"].value == pytest.approx(10.0, abs=1e-12)
    assert scores["is"].standard_error == pytest.approx(0.0, abs=1e-12)
    assert scores["is"].facts["maximum"] == 10
    assert scores["h_y"].value == pytest.approx(log(10), abs=1e-12)
    assert scores["h_y_given_x"].value == 0.0


def test_one_and_the_same_prediction_scores_one():
    sure, vague = measured(one_hot([3] * 50)), measured(LOGITS[:1].expand(50, 7))
    entropy = torch.distributions.Categorical(logits=LOGITS[0].double()).entropy().item()
    assert sure["is"].value == pytest.approx(1.0, abs=1e-12)
    assert vague["is"].value == pytest.approx(1.0, abs=1e-12)
    assert vague["h_y"].value == pytest.approx(entropy, abs=1e-12)
    assert vague["h_y_given_x"].value == pytest.approx(entropy, abs=1e-12)
    assert vague["h_y_given_x"].standard_error == pytest.approx(0.0, abs=1e-8)


def test_two_rows_by_hand():
    """p(y|x) = (3/4, 1/4) and (1/4, 3/4): p(y) = (1/2, 1/2), H(y) = log 2; H(y|x) = log 4 − 3/4 log 3 for both, so the
    score is 2 / 4 · 3^¾ = 1.1398…"""
    scores = measured(torch.tensor([[log(3), 0.0], [0.0, log(3)]], dtype=torch.float64), splits=1)
    assert scores["h_y"].value == pytest.approx(log(2), abs=1e-12)
    assert scores["h_y_given_x"].value == pytest.approx(log(4) - 0.75 * log(3), abs=1e-12)
    assert scores["is"].value == pytest.approx(0.5 * 3**0.75, abs=1e-12)
    assert scores["is"].standard_error is None


@pytest.mark.parametrize("splits", [1, 3, 10, 103])
def test_it_is_what_torch_fidelity_says(splits):
    score, peer = measured(LOGITS, splits)["is"], isc_features_to_metric(LOGITS, splits, shuffle=False)
    assert score.value == pytest.approx(peer["inception_score_mean"], rel=1e-12)
    assert score.facts["std"] == pytest.approx(peer["inception_score_std"], rel=1e-9, abs=1e-14)


def test_the_standard_error_is_that_of_the_mean_of_the_splits():
    """Splits of 2 rows: (0, 1), (0, 0), (0, 1) score 2, 1, 2. s² = 1/3, so the error is √(1/9); std √(2/9)."""
    score = measured(one_hot([0, 1, 0, 0, 0, 1]), splits=3)["is"]
    assert score.value == pytest.approx(5 / 3, abs=1e-12)
    assert score.standard_error == pytest.approx(1 / 3, abs=1e-12)
    assert score.facts["std"] == pytest.approx(2**0.5 / 3, abs=1e-12)


def test_the_entropies_are_of_all_rows_and_their_difference_is_the_logarithm_of_the_score_without_splits():
    ten, one = measured(LOGITS, 10), measured(LOGITS, 1)
    assert ten["h_y"].value == pytest.approx(one["h_y"].value, abs=1e-12)
    assert one["is"].value == pytest.approx(exp(one["h_y"].value - one["h_y_given_x"].value), rel=1e-12)
    assert ten["is"].facts["of_all_rows"] == pytest.approx(one["is"].value, rel=1e-12)


def test_the_error_of_the_mean_entropy_of_a_row():
    entropies = torch.distributions.Categorical(logits=LOGITS.double()).entropy().numpy()
    score = measured(LOGITS)["h_y_given_x"]
    assert score.value == pytest.approx(entropies.mean(), rel=1e-12)
    assert score.standard_error == pytest.approx(np.std(entropies, ddof=1) / 103**0.5, rel=1e-9)


def test_it_is_the_same_in_any_order_batches_and_ranks():
    expected = measured(LOGITS)
    shares = [slice(0, 0), slice(50, None), slice(0, 50)]
    order = torch.randperm(103, generator=torch.Generator().manual_seed(1))
    ranks = on_ranks(3, lambda table: measured(LOGITS, batch=9, only=shares[table.rank], table=table))
    for scores in (measured(LOGITS, batch=8, order=order), *ranks):
        for name, score in scores.items():
            assert score.value == pytest.approx(expected[name].value, rel=1e-12)
        for name in ("is", "h_y_given_x"):
            assert scores[name].standard_error == pytest.approx(expected[name].standard_error, rel=1e-9)
        assert scores["is"].facts == pytest.approx(expected["is"].facts)


def test_fewer_rows_than_splits_are_refused_by_the_name_of_the_option():
    with pytest.raises(UserError, match=r"9 rows for 10 splits: give --is\.splits 9 or fewer"):
        measured(LOGITS[:9])


def test_a_note_where_a_split_has_fewer_rows_than_there_are_classes():
    assert "a split has 6 rows for 7 classes" in measured(LOGITS[:69])["is"].notes[0]
    assert not measured(LOGITS[:70])["is"].notes


def test_rows_that_are_not_numbered_from_zero_are_refused():
    with pytest.raises(ValueError, match="not numbered from 0 to 49"):
        measured(LOGITS, only=slice(50, 100))


def test_it_needs_logits():
    with pytest.raises(UserError, match="is needs logits"):
        InceptionScore().update("fake", Seen(torch.arange(2), torch.zeros(2, 2)))
