"""Sets known by name, worlds, tables of the hub."""

import gzip
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from data_helpers import noise, pixels_of, refusal
from PIL import Image

from simulacra.data import describe, open_data
from simulacra.data.hub import table_source
from simulacra.data.request import Request
from simulacra.data.worlds.points import GRID, RING, draw
from simulacra.errors import UserError

real = pytest.mark.skipif(
    not os.environ.get("SIMULACRA_DATA"), reason="SIMULACRA_DATA does not name a folder of data sets"
)


def test_digits_are_the_1797_of_scikit_learn():
    from sklearn.datasets import load_digits

    train, test = open_data("digits"), open_data("digits", split="test")
    assert (len(train), len(test)) == (1501, 296)
    assert train.spec.shape == (1, 8, 8)
    assert train.data.min() == 0
    assert train.data.max() == 255
    table = load_digits()
    row = int(train.name_of(100).split()[1])
    assert (pixels_of(train, 100)[0] == np.rint(table.images[row] * 15.9375)).all()
    assert train.labels[100] == table.target[row]
    shares = torch.bincount(test.labels) / torch.bincount(torch.cat([train.labels, test.labels]))
    assert ((shares > 0.15) & (shares < 0.17)).all()


def test_binarised_mnist_unpacks_bits_and_has_validation_rows_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setenv("SIMULACRA_DATA", str(tmp_path))
    place = tmp_path / "binarized_mnist"
    place.mkdir()
    bits = (np.random.default_rng(0).random((9, 784)) < 0.3).astype(np.uint8)
    packed = np.packbits(bits, axis=1)
    np.savez(place / "binarized_mnist.npz", train=packed[:4], valid=packed[4:6], test=packed[6:])
    train, test = open_data("binarized_mnist"), open_data("binarized_mnist", split="test")
    assert (len(train), len(test), train.labels) == (6, 3, None)
    assert (train.data.flatten(1).numpy() == 255 * bits[:6]).all()
    assert (test.data.flatten(1).numpy() == 255 * bits[6:]).all()
    assert train.spec.shape == (1, 28, 28)
    np.savez(place / "binarized_mnist.npz", train=packed[:4], valid=packed[4:6, :50], test=packed[6:])
    refusal("binarized_mnist", "torn")
    (place / "binarized_mnist.npz").write_bytes(b"PK\x03\x04 half")
    refusal("binarized_mnist", "torn")
    (place / "binarized_mnist.npz").unlink()
    place.rmdir()
    refusal("binarized_mnist", "SIMULACRA_DATA")


@real
def test_the_static_binarisation_is_of_mnist():
    """Every test row is black where MNIST's images are."""
    test, digits = open_data("binarized_mnist", split="test"), open_data("mnist", split="test")
    assert len(open_data("binarized_mnist")) == 60_000
    assert set(test.data.unique().tolist()) == {0, 255}
    ever = (digits.data > 0).any(0)
    assert not (test.data[:, ~ever] > 0).any()
    assert (test.data.float().mean() / digits.data.float().mean()).item() == pytest.approx(1.0, abs=0.02)


def test_describe_counts_classes():
    told = describe(open_data("digits", split="test"))
    assert told["images"] == sum(told["classes"].values()) == 296
    assert told["shape"] == [1, 8, 8]
    assert told["bytes"] == 296 * 64
    assert len(told["fingerprint"]) == 64
    assert described_in_one_line(told)


def described_in_one_line(told):
    return "\n" not in told["summary"] and told["in_memory"] is True and told["channels"] == 1


@pytest.mark.parametrize("mixture", [RING, GRID], ids=lambda mixture: mixture.name)
def test_worlds_are_the_mixtures_they_say(mixture):
    source = open_data(mixture.name)
    assert source.spec.shape == (2,)
    assert source.data.dtype == torch.float32
    assert len(source) == 100_000
    away = source.data.numpy() - mixture.centres[source.labels.numpy()]
    assert abs(away.std() / mixture.sigma - 1) < 0.01
    assert abs(away.mean()) < 5 * mixture.sigma / np.sqrt(200_000)
    assert abs(np.corrcoef(away.T)[0, 1]) < 0.02
    counts = np.bincount(source.labels.numpy())
    expected = len(source) / len(mixture.centres)
    assert len(counts) == len(mixture.centres)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_worlds_have_the_textbook_centres():
    assert np.allclose(np.linalg.norm(RING.centres, axis=1), 1)
    assert len({tuple(centre) for centre in RING.centres.round(6).tolist()}) == 8
    assert {tuple(centre) for centre in GRID.centres.tolist()} == {
        (x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)
    }


def test_worlds_are_the_same_every_time_and_differ_between_splits():
    train, again, test = draw(RING, "train")[0], draw(RING, "train")[0], draw(RING, "test")[0]
    assert (train == again).all()
    assert not (train[: len(test)] == test).any()
    assert train[0].tolist() == pytest.approx(FIRST_POINT, abs=1e-6)


FIRST_POINT = [0.715537965297699, -0.689232587814331]


def test_importing_the_package_imports_no_heavy_extra():
    heavy = "('sklearn', 'torchvision', 'datasets', 'scipy')"
    code = f"import sys, simulacra.data; print([m for m in {heavy} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert told.stdout.strip() == "[]"


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("place", ["", "MNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_found_in_either_layout(tmp_path, monkeypatch, place, packed):
    images, labels = noise(28, 28, 5).transpose(2, 0, 1).copy(), np.arange(5, dtype=np.uint8)
    folder = tmp_path / "mnist" / place
    folder.mkdir(parents=True)
    for name, array in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        content = idx(array)
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    monkeypatch.setenv("SIMULACRA_DATA", str(tmp_path))
    source = open_data("mnist")
    assert (source.data[:, 0].numpy() == images).all()
    assert source.labels.tolist() == [0, 1, 2, 3, 4]
    assert source.spec.classes == tuple("0123456789")
    refusal("mnist", "no t10k-images", split="test")


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:3], lambda b: b"", lambda b: b"\1" + b[1:]])
def test_torn_idx_files_are_named(tmp_path, monkeypatch, damage):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(damage(idx(np.zeros((2, 28, 28), np.uint8))))
    monkeypatch.setenv("SIMULACRA_DATA", str(tmp_path))
    refusal("mnist", "train-images-idx3-ubyte", "torn")


def test_torn_gzip_is_named(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(100))[:-20])
    monkeypatch.setenv("SIMULACRA_DATA", str(tmp_path))
    refusal("mnist", "train-images-idx3-ubyte.gz", "torn")


@pytest.mark.parametrize(
    ("word", "kind"),
    [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("cifar10", "CIFAR10"), ("usps", "USPS")],
)
@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("Error downloading")])
def test_without_network_the_way_out_is_told(tmp_path, monkeypatch, word, kind, error):
    from torchvision import datasets

    def fail(root, train, download):
        assert root == str(tmp_path / "cache")
        assert download
        raise error

    monkeypatch.delenv("SIMULACRA_DATA", raising=False)
    monkeypatch.setenv("SIMULACRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, kind, fail)
    refusal(word, kind, "SIMULACRA_DATA", "digits", str(error))


def test_cifar10_in_torchvisions_layout_must_pass_its_hashes(tmp_path, monkeypatch):
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number in range(1, 6):
        (folder / f"data_batch_{number}").write_bytes(b"no pickle")
    monkeypatch.setenv("SIMULACRA_DATA", str(tmp_path))
    refusal("cifar10", "no CIFAR10", "torn")


def usps_file(folder, **groups):
    h5py = pytest.importorskip("h5py")
    (folder / "usps").mkdir()
    with h5py.File(folder / "usps" / "usps.h5", "w") as file:
        for split, (values, labels) in groups.items():
            file[f"{split}/data"], file[f"{split}/target"] = values, labels


def test_usps_is_read_from_its_file(tmp_path, monkeypatch):
    images = noise(16, 16, 3).transpose(2, 0, 1)
    usps_file(tmp_path, train=(images.reshape(3, 256).astype(np.float32) / 255, np.array([4, 0, 9])))
    monkeypatch.setenv("SIMULACRA_DATA", str(tmp_path))
    source = open_data("usps")
    assert (source.data[:, 0].numpy() == images).all()
    assert source.labels.tolist() == [4, 0, 9]
    assert source.spec.classes == tuple("0123456789")
    assert open_data("usps", size=(28, 28)).spec.shape == (1, 28, 28)
    refusal("usps", "usps.h5", "torn", split="test")


def test_a_torn_usps_file_and_a_missing_reader_are_named(tmp_path, monkeypatch):
    usps_file(tmp_path)
    monkeypatch.setenv("SIMULACRA_DATA", str(tmp_path))
    (tmp_path / "usps" / "usps.h5").write_bytes(b"no table")
    refusal("usps", "usps.h5", "torn")
    monkeypatch.setitem(sys.modules, "h5py", None)
    refusal("usps", "usps.h5", "pip install h5py")


@real
def test_real_usps():
    pytest.importorskip("h5py")
    train, test = open_data("usps"), open_data("usps", split="test")
    assert (len(train), len(test)) == (7291, 2007)
    assert torch.bincount(test.labels).tolist() == [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]


def test_torn_sheets_are_refused(tmp_path, monkeypatch):
    (tmp_path / "cifar10").mkdir()
    table = "sheet,row,label,split\ngone.webp,0,0,train\n"
    (tmp_path / "cifar10" / "index.csv.gz").write_bytes(gzip.compress(table.encode()))
    monkeypatch.setenv("SIMULACRA_DATA", str(tmp_path))
    refusal("cifar10", "torn", "gone.webp")


@real
@pytest.mark.parametrize(("word", "counts"), [("mnist", (60_000, 10_000)), ("fashion_mnist", (60_000, 10_000))])
def test_real_idx_sets(word, counts):
    train, test = open_data(word), open_data(word, split="test")
    assert (len(train), len(test)) == counts
    assert train.spec.shape == (1, 28, 28)
    mean = {"mnist": 0.1307, "fashion_mnist": 0.2860}[word]
    assert train.data.double().mean().item() / 255 == pytest.approx(mean, abs=1e-4)


@real
def test_real_cifar10_sheets():
    source = open_data("cifar10", split="test")
    assert source.data.shape == (10_000, 3, 32, 32)
    assert torch.bincount(source.labels).tolist() == [1000] * 10
    means = source.data.double().mean((0, 2, 3)) / 255
    assert means.tolist() == pytest.approx([0.4942, 0.4851, 0.4504], abs=2e-4)


class Image_:
    """Stands in for `datasets.Image`, which is known by its name."""


Image_.__name__ = "Image"


class ClassLabel:
    def __init__(self, names):
        self.names = names


class Table:
    def __init__(self, features, columns):
        self.features, self.columns = features, columns

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        return (
            self.columns[key] if isinstance(key, str) else {name: column[key] for name, column in self.columns.items()}
        )


def table(**changes):
    images = [Image.fromarray(noise(6, 5, key=key)) for key in range(4)]
    columns = {"id": [1, 2, 3, 4], "picture": images, "kind": [1, 0, 1, 1]} | changes
    return Table({"id": object(), "picture": Image_(), "kind": ClassLabel(["a", "b"])}, columns)


@pytest.mark.parametrize("stream", [False, True])
def test_a_table_becomes_a_source(stream):
    source = table_source(Request(word="hf:some/set", stream=stream), table())
    assert source.spec.as_dict() == {"kind": "image", "shape": [3, 6, 5], "classes": ["a", "b"]}
    assert source.labels.tolist() == [1, 0, 1, 1]
    assert source.name_of(2) == "row 2 of hf:some/set"
    assert (pixels_of(source, 2) == noise(6, 5, key=2).transpose(2, 0, 1)).all()
    assert (pixels_of(source, 2) == noise(6, 5, key=2).transpose(2, 0, 1)).all()
    assert "column" in source.summary
    assert source.in_memory is not stream


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"picture": [None] * 4}, "no usable image"),
        ({"picture": [Image.new("L", (8, 8)), None, None, None]}, "3 of 4 images broken: 'row 1 of hf:some/set'"),
        ({"kind": [0, -1, 1, 0]}, "lacks a label"),
        ({"kind": [0, None, 1, 0]}, "lacks a label"),
        ({"id": []}, "empty"),
    ],
)
def test_bad_tables_are_refused(changes, part):
    with pytest.raises(UserError, match=part):
        table_source(Request(word="hf:some/set"), table(**changes))


def test_a_table_without_images_lists_its_columns():
    with pytest.raises(UserError, match="text"):
        table_source(Request(word="hf:some/set"), Table({"text": object()}, {"text": ["a"]}))


def test_without_the_extra_the_command_to_install_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    refusal("hf:some/set", "the extra 'hub' (pip install 'datasets>=3')")
