"""Classification accuracy score: what a classifier learns from generated rows, tried on real ones."""

from math import sqrt

import pytest
import torch

from simulacra.data import Spec
from simulacra.errors import UserError
from simulacra.metrics.classification import ClassificationAccuracy, ClassificationAccuracyConfig
from simulacra.metrics.measure import Seen

SPEC = Spec(kind="image", shape=(1, 4, 4), classes=("dark", "bright", "never"))


def rows(n, seed=0, swapped=False, spec=SPEC, most=2):
    """Pixels in [0, 1] of images that are dark or bright, with their labels; `swapped` names them the other way."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % most
    noise = torch.randint(0, 40, (n, spec.numel), generator=generator)
    pixels = (noise + 200 * labels[:, None] // max(most - 1, 1)) / 255
    return Seen(torch.arange(n), pixels.float(), None, 1 - labels if swapped else labels)


def measured(fake, real, spec=SPEC, **options):
    measure = ClassificationAccuracy(ClassificationAccuracyConfig(**{"epochs": 8, **options}), spec=spec)
    measure.update("fake", fake)
    measure.update("real", real)
    return measure.compute()["cas"]


def test_generated_rows_that_are_like_real_ones_score_one():
    score = measured(rows(400), rows(100, seed=1))
    assert score.value == 1.0
    assert score.standard_error == 0.0
    assert score.facts == {"epochs": 8, "seed": 0, "rows": {"fake": 400, "real": 100}}
    assert score.notes == ()


def test_generated_rows_under_the_wrong_names_score_zero():
    assert measured(rows(400, swapped=True), rows(100, seed=1)).value == 0.0


def test_the_error_is_that_of_a_share():
    """Half of the real rows carry the wrong name: 50 of 100 are right, √(.5 · .5 / 100) = 0.05."""
    right, wrong = rows(50, seed=1), rows(50, seed=2, swapped=True)
    labels = torch.cat([right.labels, wrong.labels])
    real = Seen(torch.arange(100), torch.cat([right.features, wrong.features]), None, labels)
    score = measured(rows(400), real)
    assert score.value == 0.5
    assert score.standard_error == pytest.approx(sqrt(0.25 / 100))


def test_batches_and_their_order_do_not_matter():
    fake, real = rows(60), rows(30, seed=1)
    measure = ClassificationAccuracy(ClassificationAccuracyConfig(epochs=1), spec=SPEC)
    for first in (40, 0, 20):
        measure.update("fake", Seen(*(None if v is None else v[first : first + 20] for v in fake)))
    measure.update("real", real)
    parts = measure.compute()["cas"]
    whole = measured(fake, real, epochs=1)
    assert (parts.value, parts.facts) == (whole.value, whole.facts)


def test_only_the_first_rows_are_used():
    score = measured(rows(60), rows(30), rows=20, epochs=1)
    assert score.facts["rows"] == {"fake": 20, "real": 20}


def test_a_real_class_that_is_never_generated_is_noted():
    score = measured(rows(60), rows(30, most=3), epochs=1)
    assert score.notes == ("no generated row is of class never",)


def test_classes_without_names_are_numbers():
    nameless = Spec(kind="image", shape=(1, 4, 4), classes=None)
    assert measured(rows(60), rows(30, most=3), spec=nameless, epochs=1).notes == ("no generated row is of class 2",)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(UserError, match="needs images"):
        ClassificationAccuracy()
    with pytest.raises(UserError, match="needs images"):
        ClassificationAccuracy(spec=Spec(kind="vector", shape=(2,), classes=("a", "b")))
    measure = ClassificationAccuracy(spec=SPEC)
    with pytest.raises(UserError, match="cas needs labels"):
        measure.update("fake", rows(4)._replace(labels=None))
    with pytest.raises(UserError, match="the generated side' are of one class"):
        measured(rows(10, most=1), rows(10))
