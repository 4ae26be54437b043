"""Extractors by name, and pixels."""

import os

import pytest
import torch

from simulacra.data import Spec, open_data
from simulacra.data.batch import to_unit
from simulacra.errors import UserError
from simulacra.features.catalogue import SHIPPED, default_extractor, find_extractor
from simulacra.features.classifier import load
from simulacra.features.pixels import Pixels

real = pytest.mark.skipif(
    not os.environ.get("SIMULACRA_DATA"), reason="SIMULACRA_DATA does not name a folder of data sets"
)
GREY = Spec(kind="image", shape=(1, 28, 28), classes=None)
COLOUR = Spec(kind="image", shape=(3, 28, 28), classes=None)
PLANE = Spec(kind="vector", shape=(2,), classes=None)


def test_the_shipped_classifier_says_how_it_was_trained():
    path = SHIPPED / "mnist.safetensors"
    assert path.stat().st_size < 1_000_000
    record = load(path).record
    assert record.command == "simulacra extractor train --data mnist --out mnist.safetensors"
    assert (record.data, record.rows, record.test_rows, record.seed) == ("mnist", 60_000, 10_000, 0)
    assert record.spec == {"kind": "image", "shape": [1, 28, 28], "classes": list("0123456789")}
    assert record.accuracy >= 0.995


@real
def test_the_shipped_classifier_is_as_right_as_it_says():
    test = open_data("mnist", split="test")
    extractor = find_extractor("mnist", test.spec)
    assert load(SHIPPED / "mnist.safetensors").record.fingerprint == open_data("mnist").fingerprint
    assert extractor.doubts(test.spec) == []
    said = extractor(test.data[::4])
    right = (said.logits.argmax(1) == test.labels[::4]).double().mean().item()
    assert right == pytest.approx(extractor.record.accuracy, abs=3 * (0.0043 / 2500) ** 0.5)  # √(p (1 − p) / n)


@real
def test_stacked_digits_are_told_apart_channel_by_channel():
    source = open_data("stacked_mnist", split="test")
    extractor = find_extractor("stacked_mnist", source.spec)
    assert extractor.doubts(source.spec) == []
    rows = torch.arange(300).numpy()
    digits = extractor(source.rows(rows)).logits.view(300, 3, 10).argmax(2)
    assert ((digits @ torch.tensor([100, 10, 1])) == source.labels[:300]).float().mean() > 0.96


def test_pixels_are_bytes_over_255():
    rows = torch.tensor([[[[0, 51], [255, 102]]]], dtype=torch.uint8)
    said = Pixels()(rows)
    assert said.features.tolist() == [pytest.approx([0.0, 0.2, 1.0, 0.4])]
    assert said.logits is None
    assert torch.equal((said.features * 255).round().byte().view_as(rows), rows)
    points = torch.tensor([[1.5, -2.0]])
    assert torch.equal(Pixels()(points).features, points)
    assert Pixels().doubts(GREY) == []


def test_pixels_of_a_batch_are_what_the_model_saw():
    """(x + 1) / 2 of the batch's [−1, 1]."""
    rows = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.allclose(Pixels()(rows).features, (to_unit(rows).flatten(1) + 1) / 2, atol=1e-6)


def test_names_find_their_extractors():
    assert find_extractor("mnist", GREY).name == "mnist"
    assert find_extractor("stacked_mnist", COLOUR).groups == 3
    assert find_extractor("pixels", PLANE).name == "pixels"
    path = str(SHIPPED / "mnist.safetensors")
    own = find_extractor(path, GREY)
    assert own.name == "mnist.safetensors"
    assert own.digest == find_extractor("mnist", GREY).digest


def test_the_resizer_is_recorded_where_it_has_something_to_do():
    small = Spec(kind="image", shape=(1, 20, 28), classes=None)
    assert find_extractor("mnist", GREY, resizer="lanczos").resizer == "none"
    assert find_extractor("mnist", small, resizer="lanczos").resizer == "lanczos"
    assert find_extractor("mnist", small).resizer == "bicubic"
    assert find_extractor("stacked_mnist", Spec(kind="image", shape=(3, 9, 9), classes=None)).resizer == "bicubic"


@pytest.mark.parametrize(
    ("name", "spec", "resizer", "part"),
    [
        ("mnisst", GREY, None, "unknown extractor 'mnisst': did you mean 'mnist'"),
        ("vgg", GREY, None, "known: PATH.safetensors, inception, mnist, pixels, stacked_mnist"),
        ("mnist", PLANE, None, "these are vectors.*--features pixels"),
        ("gone.safetensors", GREY, None, "there is no extractor 'gone.safetensors'"),
        ("stacked_mnist", GREY, None, "3 channels, and these have 1"),
        ("mnist", Spec(kind="image", shape=(4, 28, 28), classes=None), None, "1 or 3 channels, and these have 4"),
        ("mnist", GREY, "cubic", "unknown resizer 'cubic'"),
        ("pixels", GREY, "lanczos", "leave out the resizer"),
    ],
)
def test_what_does_not_go_together_is_refused(name, spec, resizer, part):
    with pytest.raises(UserError, match=part):
        find_extractor(name, spec, resizer=resizer)


@pytest.mark.parametrize(
    ("word", "spec", "name"),
    [
        ("mnist", GREY, "mnist"),
        ("stacked_mnist", COLOUR, "stacked_mnist"),
        ("ring", PLANE, "pixels"),
        ("fashion_mnist", GREY, "pixels"),
        ("folder:photos", Spec(kind="image", shape=(3, 32, 48), classes=None), "inception"),
    ],
)
def test_every_data_set_has_a_default(word, spec, name):
    assert default_extractor(word, spec) == name
