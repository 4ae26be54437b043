"""Pictures: bytes that come back exactly, grids of the right size, files that hold what they should."""

import csv
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from simulacra import images
from simulacra.data import open_data
from simulacra.data.spec import Spec
from simulacra.errors import MachineError, UserError

GREY = Spec(kind="image", shape=(1, 8, 8), classes=None)
COLOUR = Spec(kind="image", shape=(3, 6, 10), classes=("cat", "dog"))
PLANE = Spec(kind="vector", shape=(2,), classes=None)


def noise(spec, n=5):
    return 2.0 * torch.rand(n, *spec.shape, generator=torch.Generator().manual_seed(0)) - 1.0


def test_every_byte_comes_back():
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(images.to_uint8(every.float() / 127.5 - 1.0), every)


def test_bytes_are_rounded_and_clamped():
    values = torch.tensor([-1.5, -1.0, -1.0 + 0.6 / 127.5, 0.0, 1.0, 7.0, float("nan"), float("inf"), float("-inf")])
    assert images.to_uint8(values.view(1, 1, 3, 3)).flatten().tolist() == [0, 0, 1, 128, 255, 255, 0, 255, 0]


@pytest.mark.parametrize(
    ("shape", "columns", "size"),
    [
        ((64, 1, 8, 8), None, (876, 876)),  # 8 x 8 images, enlarged 12 times: 8 * 12 * (8 + 1) + 12
        ((64, 1, 28, 28), None, (699, 699)),  # enlarged 3 times
        ((64, 3, 32, 32), None, (795, 795)),
        ((1, 3, 256, 256), None, (774, 774)),
        ((16, 3, 256, 256), None, (1034, 1034)),  # large already: as they are
        ((5, 1, 8, 8), 5, (874, 190)),  # 19 times: 5 * 19 * (8 + 1) + 19
        ((100, 1, 8, 8), 1, (12, 1002)),  # too high to be enlarged
        ((2, 1, 10, 40), None, (882, 483)),  # wide images, one below the other
    ],
)
def test_grid_sizes(shape, columns, size):
    assert images.grid(torch.zeros(shape, dtype=torch.uint8), columns).size == size


@given(
    st.integers(1, 300),
    st.sampled_from([1, 3]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.none() | st.integers(1, 400),
)
@settings(max_examples=60, deadline=None)
def test_a_grid_is_enlarged_within_bounds_only(count, channels, height, width, columns):
    picture = images.grid(torch.zeros(count, channels, height, width, dtype=torch.uint8), columns)
    across = min(count, columns or int(np.ceil(np.sqrt(count * height / width))))
    plain = (across * (width + 2) + 2, -(-count // across) * (height + 2) + 2)
    assert picture.size == plain or max(picture.size) <= 900


def test_a_grid_holds_its_images_in_rows():
    tiles = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 100, 100)
    pixels = np.asarray(images.grid(tiles, columns=2))
    tile, gap = 400, 4  # enlarged four times, one of the former pixels apart
    assert pixels.shape == (2 * tile + 3 * gap, 2 * tile + 3 * gap)
    first, second = slice(gap, gap + tile), slice(2 * gap + tile, 2 * gap + 2 * tile)
    assert (pixels[first, first] == 10).all()
    assert (pixels[first, second] == 20).all()
    assert (pixels[second, first] == 30).all()
    assert (pixels[:gap] == 255).all()
    assert (pixels[second, second] == 255).all()


def test_grid_refusals():
    with pytest.raises(UserError, match="no images"):
        images.grid(torch.zeros(0, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"2 channels.*\.npz"):
        images.grid(torch.zeros(1, 2, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("spec", [GREY, COLOUR])
def test_png_is_the_grid(tmp_path, spec):
    samples = noise(spec)
    images.write(samples, tmp_path / "new" / "folder" / "x.png", spec)
    written = np.asarray(Image.open(tmp_path / "new" / "folder" / "x.png"))
    assert np.array_equal(written, np.asarray(images.grid(images.to_uint8(samples))))
    assert os.listdir(tmp_path / "new" / "folder") == ["x.png"]


def test_points_are_drawn(tmp_path):
    images.write(noise(PLANE, 50), tmp_path / "plain.png", PLANE)
    images.write(noise(PLANE, 50), tmp_path / "coloured.png", PLANE, labels=torch.arange(50) % 3)
    plain, coloured = (
        np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")) for name in ("plain", "coloured")
    )
    assert plain.shape == (700, 700, 3)
    assert len(np.unique(coloured.reshape(-1, 3), axis=0)) > len(np.unique(plain.reshape(-1, 3), axis=0))


def test_vectors_of_other_sizes_are_sent_to_npz(tmp_path):
    spec = Spec(kind="vector", shape=(3,), classes=None)
    with pytest.raises(UserError, match=r"vectors of 3 numbers.*\.npz"):
        images.write(noise(spec), tmp_path / "x.png", spec)
    with pytest.raises(UserError, match=r"\.npz"):
        images.write(noise(spec), tmp_path / "x", spec)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["out", "out/", "version.1/"])
def test_folder_of_images_beside_what_is_there(tmp_path, name):
    samples, place = noise(COLOUR), tmp_path / name.rstrip("/")
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    images.write(samples, f"{tmp_path}/{name}", COLOUR, labels=torch.tensor([0, 1, 1, 0, 1]))
    assert sorted(os.listdir(place)) == [*(f"{k:05d}.png" for k in range(5)), "labels.csv", "notes.txt"]
    pixels = np.stack([np.asarray(Image.open(place / f"{k:05d}.png")) for k in range(5)])
    assert np.array_equal(pixels.transpose(0, 3, 1, 2), images.to_uint8(samples).numpy())
    rows = list(csv.DictReader((place / "labels.csv").open()))
    assert [row["label"] for row in rows] == ["cat", "dog", "dog", "cat", "dog"]


def test_npz_layout(tmp_path):
    samples, labels = noise(COLOUR), torch.tensor([0, 1, 1, 0, 1], dtype=torch.int32)
    images.write(samples, tmp_path / "x.npz", COLOUR, labels)
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["images"].shape == (5, 6, 10, 3)
        assert np.array_equal(arrays["images"], images.to_uint8(samples).permute(0, 2, 3, 1).numpy())
        assert arrays["images"].dtype == np.uint8
        assert arrays["labels"].tolist() == labels.tolist()
        assert arrays["labels"].dtype == np.int64
        assert arrays["class_names"].tolist() == ["cat", "dog"]
    images.write(noise(PLANE), tmp_path / "p.npz", PLANE)
    with np.load(tmp_path / "p.npz") as arrays:
        assert arrays.files == ["points"]
        assert arrays["points"].dtype == np.float32
        assert np.array_equal(arrays["points"], noise(PLANE).numpy())


@pytest.mark.parametrize("word", ["folder:{}/x", "npz:{}/x.npz"])
def test_what_is_written_can_be_trained_on(tmp_path, word):
    samples, labels = noise(COLOUR, 40), torch.arange(40) % 2
    images.write(samples, tmp_path / word.rpartition("/")[2], COLOUR, labels)
    source = open_data(word.format(tmp_path), split="train")
    assert source.spec == COLOUR
    assert 0 < len(source) < 40


def test_other_paths_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"'\.jpg'.*X\.png.*X/.*X\.npz"):
        images.write(noise(GREY), tmp_path / "x.jpg", GREY)
    with pytest.raises(UserError, match="is a file"):
        images.write(noise(GREY), tmp_path / "file", GREY)
    with pytest.raises(MachineError, match="cannot write"):
        images.write(noise(GREY), tmp_path / "file" / "x.png", GREY)


def test_a_failed_write_leaves_the_former_file(tmp_path, monkeypatch):
    images.write(noise(GREY), tmp_path / "x.png", GREY)
    before = (tmp_path / "x.png").read_bytes()

    def full(path, content):
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("simulacra.disk.write_durably", full)
    with pytest.raises(MachineError, match="No space left"):
        images.write(-noise(GREY), tmp_path / "x.png", GREY)
    assert (tmp_path / "x.png").read_bytes() == before
    assert os.listdir(tmp_path) == ["x.png"]
