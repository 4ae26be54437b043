"""Small pictures on disk for the tests of `simulacra.data`."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from simulacra.data import open_data
from simulacra.data.files import hashed_split
from simulacra.errors import UserError


def noise(height=8, width=8, channels=3, key=0):
    """uint8 [H, W, C] (or [H, W] for one channel) of noise."""
    values = np.random.default_rng(key).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values[..., 0] if channels == 1 else values


def save(path, image, **options):
    """Write an array or a Pillow image, making its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def train_names(count, suffix=".png"):
    """File names that hash to the train split."""
    names = (f"{number:04d}{suffix}" for number in range(10 * count + 10))
    return [name for name in names if hashed_split(name) == "train"][:count]


def folder_of(root, images, **options):
    """A folder whose images all belong to the train split; returns it."""
    for name, image in zip(train_names(len(images)), images):
        save(root / name, image, **options)
    return root


def one(root, name="0001.png", **options):
    """Open a folder holding the single image `name`, as the train split."""
    assert hashed_split(name) == "train"
    return open_data(f"folder:{root}", **options)


def pixels_of(source, row=0):
    """uint8 [C, H, W] of one row."""
    return source.rows(np.array([row])).numpy()[0]


def zip_of(path, files):
    """A zip holding bytes by member name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def png(image):
    """The bytes of an array as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def assert_one_line(error):
    """Assert that an error's message is one line."""
    assert len(str(error).splitlines()) == 1, str(error)


def refusal(word, *parts, **options):
    """Assert that a word is refused by one line that contains every part; returns the line."""
    with pytest.raises(UserError) as caught:
        open_data(word, **options)
    assert_one_line(caught.value)
    line = str(caught.value)
    for part in parts:
        assert part in line, line
    return line
