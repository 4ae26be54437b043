"""Modes of points and of stacked digits, counted by hand."""

from math import exp, log

import pytest
import torch

from simulacra.data.worlds.points import GRID, RING, draw
from simulacra.errors import UserError
from simulacra.metrics.measure import Seen
from simulacra.metrics.modes import ModeCoverage, ModesConfig, hits_of_images, kl_to_uniform


def measured(features, logits=None, batch=None, **options):
    measure = ModeCoverage(ModesConfig(**options))
    index = torch.arange(len(features)) if batch is None else torch.randperm(len(features))
    for part in index.split(batch or len(features)):
        measure.update("fake", Seen(part, features[part], None if logits is None else logits[part]))
    return measure.compute()


def values(scores):
    return {name: score.value for name, score in scores.items()}


def predicting(*classes, of=10):
    """Logits [N, groups · of] whose largest in each group is at the given class."""
    return torch.nn.functional.one_hot(torch.tensor(classes), of).float().flatten(1) - 3


def test_points_by_hand():
    """σ of the ring is 0.01. Near (1, 0): 0.03 off is of high quality, 0.031 is not; (0.02, 0.02) off is, by 0.0283;
    (0.025, 0.025) is not, by 0.0354, though each coordinate is within 3σ. Two more at (0, 1), one at the origin.

    Four of seven rows are of high quality, two each in two of eight modes: KL = ln 8 − ln 2 = ln 4."""
    points = torch.tensor([[1.029999, 0], [1.031, 0], [1.02, 0.02], [1.025, 0.025], [0, 1.0], [0, 0.99], [0, 0]])
    scores = measured(points, world="ring")
    assert values(scores) == {
        "modes": 2.0,
        "high_quality": pytest.approx(4 / 7),
        "mode_kl": pytest.approx(log(4)),
    }
    assert scores["high_quality"].standard_error == pytest.approx((4 / 7 * 3 / 7 / 7) ** 0.5)
    assert scores["modes"].facts["of"] == 8
    assert scores["mode_kl"].facts["counted_rows"] == 4


def test_over_all_rows_those_of_low_quality_count_for_their_nearest_mode():
    """Of high quality: one row, in one mode, KL = ln 25. Of all four rows three are nearest to (4, 4): shares ¼, ¾, so
    ln 25 + ¼ ln ¼ + ¾ ln ¾."""
    scores = measured(torch.tensor([[0.0, 0], [4.9, 4.9], [5.0, 5.0], [6.0, 6.0]]), world="grid")
    assert scores["mode_kl"].value == pytest.approx(log(25))
    expected = log(25) + 0.25 * log(0.25) + 0.75 * log(0.75)
    assert scores["mode_kl"].facts["over_all_rows"] == pytest.approx(expected)


@pytest.mark.parametrize(("world", "mixture", "modes"), [("ring", RING, 8), ("grid", GRID, 25)])
def test_the_datas_own_points_hit_every_mode(world, mixture, modes):
    """In the plane the squared distance over σ² is χ² of 2 degrees: P(≤ 9) = 1 − e^(−4.5) = 0.98889."""
    points = torch.from_numpy(draw(mixture, "test")[0])
    scores = measured(points, world=world)
    expected = 1 - exp(-4.5)
    error = (expected * (1 - expected) / len(points)) ** 0.5
    assert scores["modes"].value == modes
    assert scores["high_quality"].value == pytest.approx(expected, abs=3 * error)
    assert scores["high_quality"].standard_error == pytest.approx(error, rel=0.1)
    # 2N · KL is about χ² of K − 1 degrees: mean K − 1, variance 2(K − 1).
    chance = scores["mode_kl"].facts["chance"]
    assert chance == pytest.approx((modes - 1) / (2 * scores["mode_kl"].facts["counted_rows"]))
    assert scores["mode_kl"].value == pytest.approx(chance, abs=3 * chance * (2 / (modes - 1)) ** 0.5)


def test_one_mode_alone_is_the_logarithm_of_their_number_away():
    points, modes = (torch.from_numpy(values) for values in draw(RING, "test"))
    scores = measured(points[modes == 3], world="ring")
    assert scores["modes"].value == 1
    assert scores["mode_kl"].value == pytest.approx(log(8))


def test_without_rows_of_high_quality_the_divergence_is_left_out():
    scores = measured(torch.zeros(5, 2), world="ring")
    assert values(scores) == {"modes": 0.0, "high_quality": 0.0}
    assert "not defined" in scores["modes"].notes[0]


def test_stacked_digits_by_hand():
    """Digits 0 1 2, 0 1 2, 9 9 9 and 2 1 0: modes 12 (twice), 999 and 210, three of 1000. Shares ½, ¼, ¼:
    KL = ln 1000 + ½ ln ½ + 2 · ¼ ln ¼ = ln 1000 − (3/2) ln 2."""
    logits = predicting((0, 1, 2), (0, 1, 2), (9, 9, 9), (2, 1, 0))
    assert hits_of_images(logits, 3).mode.tolist() == [12, 12, 999, 210]
    scores = measured(torch.zeros(4, 1), logits, groups=3)
    assert values(scores) == {"modes": 3.0, "mode_kl": pytest.approx(log(1000) - 1.5 * log(2))}
    assert scores["modes"].facts == {
        "of": 1000,
        "rows": {"fake": 4},
        "counting": "all rows, by their predicted classes in 3 groups",
    }


def test_every_combination_once_is_uniform():
    combinations = torch.cartesian_prod(torch.arange(4), torch.arange(4)).tolist()
    scores = measured(torch.zeros(16, 1), predicting(*combinations, of=4), groups=2)
    assert values(scores) == {"modes": 16.0, "mode_kl": pytest.approx(0, abs=1e-12)}


def test_one_classification_has_its_classes_as_modes():
    scores = measured(torch.zeros(3, 1), predicting((1,), (1,), (7,)))
    assert scores["modes"].value == 2
    assert scores["modes"].facts["of"] == 10


def test_batches_and_order_change_nothing():
    points = torch.from_numpy(draw(GRID, "test")[0][:500])
    assert measured(points, batch=37, world="grid") == measured(points, world="grid")


def test_the_divergence_is_of_generated_from_uniform_and_not_the_other_way():
    """(¾, ¼): ¾ ln(3/2) + ¼ ln(1/2) = 0.13081; the other way round ½ ln(2/3) + ½ ln 2 = 0.14384."""
    assert kl_to_uniform(torch.tensor([3, 1])) == pytest.approx(0.13081, abs=1e-5)


def test_what_cannot_be_counted_is_refused_with_a_way_out():
    with pytest.raises(UserError, match=r"modes\.world=ring or grid for points, or for images an extractor"):
        measured(torch.zeros(3, 2))
    with pytest.raises(UserError, match="points in the plane, and features are 5 numbers wide"):
        measured(torch.zeros(3, 5), world="ring")
    with pytest.raises(UserError, match=r"10 logits do not divide into modes\.groups = 3"):
        measured(torch.zeros(3, 2), torch.zeros(3, 10), groups=3)
    with pytest.raises(UserError, match=r"10 classes in 7 groups are more than 1,000,000 modes"):
        measured(torch.zeros(3, 2), torch.zeros(3, 70), groups=7)
