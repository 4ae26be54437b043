"""Three digits in one image: what they are of, and that they are the same everywhere."""

import gzip
import os
import pickle
import struct

import numpy as np
import pytest
import torch
from data_helpers import refusal

from simulacra.data import Feed, describe, open_data
from simulacra.data.worlds.stacked import COUNTS, draw

real = pytest.mark.skipif(
    not os.environ.get("SIMULACRA_DATA"), reason="SIMULACRA_DATA does not name a folder of data sets"
)
DIGITS = {"train": 20, "test": 12}


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """A small MNIST: image k is all of value k (50 + k in the test split), its label k modulo 10."""
    (tmp_path / "mnist").mkdir()
    for split, stem in (("train", "train"), ("test", "t10k")):
        number = np.arange(DIGITS[split], dtype=np.uint8)
        values = number + (50 if split == "test" else 0)
        for name, array in (
            ("images-idx3-ubyte", np.repeat(values, 784).reshape(-1, 28, 28)),
            ("labels-idx1-ubyte", number % 10),
        ):
            (tmp_path / "mnist" / f"{stem}-{name}.gz").write_bytes(gzip.compress(idx(array)))
    monkeypatch.setenv("SIMULACRA_DATA", str(tmp_path))


def test_channels_are_three_digits_and_the_label_is_the_number_they_write(digits):
    source = open_data("stacked_mnist")
    rows = source.rows(np.array([0, 5, 127_999, 5]))
    assert rows.shape == (4, 3, 28, 28)
    assert rows.dtype == torch.uint8
    assert torch.equal(rows, rows[..., :1, :1].expand_as(rows))  # each channel is one image of one value
    triples = rows[:, :, 0, 0].long()
    assert triples.tolist() == draw("train", 20)[[0, 5, 127_999, 5]].tolist()
    number = (triples % 10) @ torch.tensor([100, 10, 1])
    assert source.labels[[0, 5, 127_999, 5]].tolist() == number.tolist()
    assert [source.spec.classes[k] for k in (0, 7, 42, 999)] == ["000", "007", "042", "999"]


def test_splits_have_their_own_digits_and_numbers_of_rows(digits):
    train, test = open_data("stacked_mnist"), open_data("stacked_mnist", split="test")
    assert (len(train), len(test)) == (128_000, 26_000)
    values = test.rows(np.arange(500))[:, :, 0, 0]
    assert set(values.unique().tolist()) == set(range(50, 62))
    assert train.fingerprint != test.fingerprint
    assert train.name_of(3) == "row 3 of stacked_mnist (train)"


def test_it_is_described(digits):
    told = describe(open_data("stacked_mnist", split="test"))
    assert told["shape"] == [3, 28, 28]
    assert told["images"] == sum(told["classes"].values()) == 26_000
    assert len(told["classes"]) == 1000
    assert told["in_memory"] is True
    assert told["summary"].startswith("26,000 images in 1,000 classes, RGB; each of three of 12 images")


def test_triples_are_drawn_uniformly_and_independently():
    """Each of 20 digits is in a channel of 26 000 images 1300 ± 35 times; channels do not follow each other."""
    triples = draw("test", 20)
    assert triples.shape == (COUNTS["test"], 3)
    for channel in range(3):
        counts = np.bincount(triples[:, channel], minlength=20)
        assert np.abs(counts - 1300).max() < 5 * 35.2
    together = np.corrcoef(triples.T) - np.eye(3)
    assert np.abs(together).max() < 5 / 26_000**0.5
    assert triples[:2].tolist() == draw("test", 20)[:2].tolist()


def test_triples_are_the_same_on_every_machine():
    assert draw("train", 60_000)[:2].tolist() == FIRST
    assert not (draw("train", 60_000)[:26_000] == draw("test", 60_000)).all(1).any()


FIRST = [[21605, 46740, 2341], [15294, 37748, 37279]]


@pytest.mark.parametrize("stream", [None, True, False])
def test_held_or_not_the_rows_are_the_same(digits, stream):
    source = open_data("stacked_mnist", stream=stream)
    other = open_data("stacked_mnist")
    assert source.in_memory is not stream
    assert isinstance(source.data, torch.Tensor) is (stream is False)
    assert source.fingerprint == other.fingerprint
    index = np.array([7, 3, 127_999])
    assert torch.equal(source.rows(index), other.rows(index))


def test_the_fingerprint_follows_mnist(digits, tmp_path):
    before = open_data("stacked_mnist").fingerprint
    path = tmp_path / "mnist" / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros(20, np.uint8))))
    assert open_data("stacked_mnist").fingerprint != before


def test_it_pickles_and_feeds(digits):
    source = open_data("stacked_mnist", stream=True)
    copy = pickle.loads(pickle.dumps(source.data))
    assert torch.equal(copy.read(np.array([9]))[0], source.rows(np.array([9])))
    batches = [Feed(source, seed=0, batch=8, workers=workers) for workers in (0, 1)]
    one, other = (feed.at(2) for feed in batches)
    assert torch.equal(one.x, other.x)
    assert one.x.shape == (8, 3, 28, 28)
    assert torch.equal(one.labels, source.labels[one.index])
    for feed in batches:
        feed.close()


def test_digits_are_resized_before_they_are_stacked(digits):
    source = open_data("stacked_mnist", size=(16, 20), channels=3, skip_broken=True)
    assert source.spec.shape == (3, 16, 20)
    assert source.rows(np.array([0]))[0, :, 0, 0].tolist() == draw("train", 20)[0].tolist()


def test_it_is_never_grey(digits):
    refusal("stacked_mnist", "three channels", channels=1)


@real
def test_the_real_one_covers_all_modes():
    """128 000 images over 1000 classes: 128 ± 11 each, unequal as MNIST's classes are."""
    source = open_data("stacked_mnist")
    counts = torch.bincount(source.labels, minlength=1000)
    assert counts.min() > 60
    assert counts.max() < 220
    test = open_data("stacked_mnist", split="test")
    assert torch.bincount(test.labels, minlength=1000).min() > 0
