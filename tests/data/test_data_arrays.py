"""`npz:PATH`: what is taken, what is refused, and that no bytes lead to anything else."""

import io
import pickle

import numpy as np
import pytest
from data_helpers import assert_one_line, noise, refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from simulacra.data import Source, open_data
from simulacra.data.files import hashed_split
from simulacra.errors import UserError

ROWS = [row for row in range(40) if hashed_split(str(row)) == "train"]


def write(path, **arrays):
    np.savez(path, **arrays)
    return f"npz:{path}"


def of(tmp_path, images, **arrays):
    """The images as a training split of their own."""
    return open_data(write(tmp_path / "a.npz", images=images, test_images=np.zeros((1, 4, 4)), **arrays))


def test_rows_classes_and_names(tmp_path):
    images = np.stack([noise(5, 6, key=key) for key in range(40)])
    labels = np.arange(40) % 3
    word = write(tmp_path / "a.npz", images=images, labels=labels, class_names=["x", "y", "z"])
    train, test = open_data(word), open_data(word, split="test")
    assert len(train) == len(ROWS)
    assert len(train) + len(test) == 40
    assert (train.data.numpy() == images[ROWS].transpose(0, 3, 1, 2)).all()
    assert train.labels.tolist() == labels[ROWS].tolist()
    assert train.spec.classes == ("x", "y", "z")
    assert train.name_of(5) == f"row {ROWS[5]} of a.npz"


def test_points(tmp_path):
    points = np.random.default_rng(0).standard_normal((40, 3))
    labels = np.arange(40) % 2
    word = write(tmp_path / "a.npz", points=points, labels=labels, class_names=["x", "y"])
    train, test = open_data(word), open_data(word, split="test")
    assert train.spec.kind == "vector"
    assert train.spec.shape == (3,)
    assert train.spec.classes == ("x", "y")
    assert len(train) + len(test) == 40
    assert (train.data.numpy() == points[ROWS].astype(np.float32)).all()
    assert train.labels.tolist() == labels[ROWS].tolist()
    assert train.name_of(5) == f"row {ROWS[5]} of a.npz"
    assert "float64 taken as float32" in train.summary
    own = write(tmp_path / "b.npz", points=np.float32([[1, 2]]), test_points=np.int16([[3, 4], [5, 6]]))
    assert open_data(own).data.tolist() == [[1, 2]]
    assert open_data(own).summary == "1 point of 2 numbers"
    assert open_data(own, split="test").data.tolist() == [[3, 4], [5, 6]]
    refusal(own, "no size and no channels", size=(4, 4))
    refusal(write(tmp_path / "c.npz", points=np.zeros((2, 2))), "is empty", "test_points", split="test")


def test_own_test_arrays_are_the_test_split(tmp_path):
    arrays = {
        "images": np.zeros((3, 4, 4)),
        "test_images": np.ones((2, 4, 4)),
        "labels": [0, 1, 0],
        "test_labels": [4, 1],
    }
    word = write(tmp_path / "a.npz", **arrays)
    train, test = open_data(word), open_data(word, split="test")
    assert (len(train), len(test)) == (3, 2)
    assert train.spec == test.spec
    assert train.spec.classes == ("0", "1", "2", "3", "4")
    assert (test.data == 255).all()


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        (np.array([0, 1, 200, 255], np.uint8), [0, 1, 200, 255], None),
        (np.array([False, True, False, True]), [0, 255, 0, 255], "bool"),
        (np.array([0, 128, 257, 65535], np.uint16), [0, 0, 1, 255], "16-bit scaled"),
        (np.array([0, 1, 200, 255], np.uint16), [0, 1, 200, 255], "uint16 taken as 8-bit"),
        (np.array([0, 1, 200, 255], np.int64), [0, 1, 200, 255], "int64 taken as 8-bit"),
        (np.array([0, 0.5, 0.25, 1], np.float32), [0, 128, 64, 255], "floats scaled from [0, 1]"),
        (np.array([0, 0.5, 0.25, 1], np.float64), [0, 128, 64, 255], "floats scaled from [0, 1]"),
    ],
)
def test_types_are_scaled(tmp_path, values, expected, note):
    source = of(tmp_path, np.tile(values, (1, 4, 1)))
    assert source.data[0, 0, 0].tolist() == expected
    assert note is None or note in source.summary


def test_four_channels_are_laid_over_white(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 4), dtype=np.uint8)
    source = of(tmp_path, images)
    alpha = images[..., 3:] / 255
    assert np.abs(source.data.permute(0, 2, 3, 1).numpy() - (images[..., :3] * alpha + 255 * (1 - alpha))).max() <= 0.5
    assert "alpha laid over white" in source.summary


def test_size_and_channels_can_be_chosen(tmp_path):
    images = np.stack([noise(8, 12, 1, key) for key in range(3)])
    source = open_data(write(tmp_path / "a.npz", images=images, test_images=images), size=(4, 4), channels=3)
    assert source.spec.shape == (3, 4, 4)
    middle = Image.fromarray(images[1]).resize((4, 4), Image.Resampling.LANCZOS, box=(2, 0, 10, 8))
    assert (source.data[1].numpy() == np.asarray(middle)).all()
    assert "8x12 centre-cropped" in source.summary
    assert "grey repeated as RGB" in source.summary


def test_streaming_changes_no_row(tmp_path):
    word = write(tmp_path / "a.npz", images=np.stack([noise(4, 4, key=key) for key in range(20)]))
    held, streamed = open_data(word), open_data(word, stream=True)
    assert (held.in_memory, streamed.in_memory) == (True, False)
    assert held.fingerprint == streamed.fingerprint
    index = np.array([3, 1, 3])
    assert (held.rows(index) == streamed.rows(index)).all()


GOOD = np.zeros((3, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "parts"),
    [
        ({"pictures": GOOD}, ["no array 'images'", "'pictures'"]),
        ({}, ["no array 'images'", "nothing"]),
        ({"labels": [1]}, ["no array 'images'", "'labels'"]),
        ({"images": np.array([{}, {}])}, ["Python objects", "never unpickled"]),
        ({"images": GOOD[0]}, ["(4, 4)", "(N, H, W)"]),
        ({"images": np.zeros((2, 3, 8, 8))}, ["channels first", "transpose(0, 2, 3, 1)"]),
        ({"images": np.zeros((2, 8, 8, 5))}, ["(2, 8, 8, 5)"]),
        ({"images": np.zeros((2, 8, 8, 3, 1))}, ["(2, 8, 8, 3, 1)"]),
        ({"images": np.zeros((0, 8, 8))}, ["no images"]),
        ({"images": np.zeros((2, 3, 8))}, ["3x8", "4x4"]),
        ({"images": GOOD.astype(np.int32) - 1}, ["-1..-1", "0..255"]),
        ({"images": GOOD.astype(np.int64) + 256}, ["256..256", "0..255"]),
        ({"images": GOOD + np.nan}, ["NaN"]),
        ({"images": GOOD + np.inf}, ["infinity"]),
        ({"images": GOOD + 128.0}, ["[128, 128]", "[0, 1]"]),
        ({"images": GOOD - 0.5}, ["[-0.5, -0.5]"]),
        ({"images": GOOD.astype(complex)}, ["complex128"]),
        ({"images": GOOD.astype(str)}, ["<U"]),
        ({"images": GOOD, "labels": [0, 1]}, ["(2,)", "3 rows"]),
        ({"images": GOOD, "labels": [0, 1, 2, 3]}, ["(4,)", "3 rows"]),
        ({"images": GOOD, "labels": [0.0, 1.0, 2.0]}, ["float64", "whole numbers"]),
        ({"images": GOOD, "labels": ["a", "b", "c"]}, ["<U1", "whole numbers"]),
        ({"images": GOOD, "labels": [0, -1, 2]}, ["-1", "from 0"]),
        ({"images": GOOD, "labels": np.array([0, 1, 2**63], np.uint64)}, ["9223372036854775808", "number the classes"]),
        ({"images": GOOD, "labels": [0, 1, 10**12], "class_names": ["a", "b"]}, ["1000000000000", "2 'class_names'"]),
        ({"images": GOOD, "labels": [0, 1, 2], "class_names": ["a", "b"]}, ["label 2", "2 'class_names'"]),
        ({"images": GOOD, "labels": [0, 1, 2], "class_names": [1, 2, 3]}, ["class_names", "strings"]),
        ({"images": GOOD, "class_names": np.array([{}])}, ["Python objects"]),
        ({"images": GOOD, "points": np.zeros((3, 2))}, ["images and of points", "keep one"]),
        ({"points": np.zeros(3)}, ["(3,)", "(N, D)"]),
        ({"points": np.zeros((3, 0))}, ["(3, 0)"]),
        ({"points": np.zeros((0, 2))}, ["(0, 2)"]),
        ({"points": np.array([[0.0, 1.0], [np.nan, 0.0]])}, ["not finite", "row 1"]),
        ({"points": np.array([[0.0, 1.0], [1e39, 0.0]])}, ["too large for float32", "row 1"]),
        ({"points": np.zeros((3, 2), complex)}, ["complex128", "real numbers"]),
        ({"points": np.zeros((3, 2)), "labels": [0, 1]}, ["(2,)", "3 rows"]),
        ({"points": np.array([[{}, {}]])}, ["Python objects"]),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, parts):
    refusal(write(tmp_path / "a.npz", **arrays), "a.npz", *parts)


def test_files_that_are_no_npz(tmp_path):
    path = tmp_path / "a.npz"
    for content in (b"", b"text", pickle.dumps({"images": 1}), b"PK\x03\x04torn"):
        path.write_bytes(content)
        assert "Python" not in refusal(f"npz:{path}", "cannot read", "a.npz", "not an npz file")
    np.savez(path, images=GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refusal(f"npz:{path}", "torn")
    with open(path, "wb") as file:
        np.save(file, GOOD)
    refusal(f"npz:{path}", "npy", "savez")


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "a.npz", images=np.array([Trap()]))
    refusal(f"npz:{tmp_path / 'a.npz'}", "never unpickled")
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Trap()))
    refusal(f"npz:{tmp_path / 'b.npz'}", "cannot read")
    assert not (tmp_path / "sprung").exists()


def test_a_header_that_claims_more_than_there_is(tmp_path):
    import zipfile

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 64, 64)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + b"few")
    refusal(f"npz:{tmp_path / 'a.npz'}", "cannot read", "claims 4,096,000,000,000 bytes and there are 3")


@pytest.mark.parametrize("key", ["images", "labels", "test_images"])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, key, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", **({"images": GOOD} | {key: np.zeros((5000, 64, 64), np.uint8)}))
    monkeypatch.setattr(np, "load", None)
    refusal(f"npz:{tmp_path / 'a.npz'}", key, "20,480,128 bytes", "bomb", "numpy.savez")


def test_large_arrays_at_ordinary_compression_and_well_packed_small_ones_are_read(tmp_path):
    binary = np.random.default_rng(0).integers(0, 2, (5000, 64, 64), dtype=np.uint8) * 255
    np.savez_compressed(tmp_path / "a.npz", images=binary)
    np.savez_compressed(tmp_path / "b.npz", images=np.zeros((4000, 64, 64), np.uint8))
    np.savez(tmp_path / "c.npz", images=np.zeros((5000, 64, 64), np.uint8))
    for name in "abc":
        assert open_data(f"npz:{tmp_path / name}.npz").spec.shape == (1, 64, 64)


def test_what_is_held_out_is_said(tmp_path):
    word = write(tmp_path / "a.npz", images=np.zeros((40, 4, 4)))
    assert f"; {40 - len(ROWS)} held out for testing (by number)" in open_data(word).summary
    assert "held out" not in open_data(word, split="test").summary
    assert "held out" not in of(tmp_path, GOOD).summary


def test_labels_with_gaps_are_classes_named_by_value(tmp_path):
    labels = np.arange(30)[::-1] * 3000
    arrays = {"images": np.zeros((30, 4, 4)), "test_images": GOOD, "labels": labels, "test_labels": [5, 0, 10**12]}
    word = write(tmp_path / "a.npz", **arrays)
    train, test = open_data(word), open_data(word, split="test")
    assert train.spec == test.spec
    assert [int(train.spec.classes[label]) for label in train.labels] == labels.tolist()
    assert [int(test.spec.classes[label]) for label in test.labels] == [5, 0, 10**12]
    assert "classes are the 32 values that occur" in train.summary


@pytest.mark.parametrize("labels", [[0, 1, 999], np.arange(3) + 7, np.arange(0, 3000, 10)])
def test_labels_that_are_nearly_dense_keep_their_numbers(tmp_path, labels):
    source = of(tmp_path, np.zeros((len(labels), 4, 4)), labels=labels)
    assert source.labels.tolist() == list(labels)
    assert source.spec.classes == tuple(map(str, range(max(labels) + 1)))


def test_too_many_classes(tmp_path):
    images, labels = np.zeros((100_001, 4, 4), bool), np.arange(100_001)
    for scale in (1, 100):
        word = write(tmp_path / "a.npz", images=images, labels=labels * scale)
        refusal(word, "100,001 classes", "at most 100,000")


def _open(content, path):
    path.write_bytes(content)
    try:
        return open_data(f"npz:{path}")
    except UserError as error:
        assert_one_line(error)
        return None


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_array_is_a_source_or_one_line(tmp_path_factory, data):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6))
    images = data.draw(hnp.arrays(hnp.scalar_dtypes(), shape, fill=st.nothing() if not np.prod(shape) else None))
    labels = data.draw(
        hnp.arrays(hnp.integer_dtypes() | hnp.floating_dtypes(), hnp.array_shapes(min_side=0, max_dims=2))
    )
    buffer = io.BytesIO()
    np.savez(buffer, images=images, labels=labels, test_images=GOOD)
    source = _open(buffer.getvalue(), tmp_path_factory.getbasetemp() / "wild.npz")
    if source is not None:
        assert isinstance(source, Source)
        assert len(source) == len(source.labels)
        assert source.data.shape == (len(source), *source.spec.shape)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_are_a_source_or_one_line(tmp_path_factory, data):
    buffer = io.BytesIO()
    np.savez(buffer, images=GOOD, test_images=GOOD)
    content = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    _open(bytes(content[: data.draw(st.integers(0, len(content)))]), tmp_path_factory.getbasetemp() / "damaged.npz")
