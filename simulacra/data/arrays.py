"""`npz:PATH`: arrays of images, or of points."""

import math
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simulacra.data.containers import SMALL_MEMBER
from simulacra.data.files import hashed_split, held_out
from simulacra.data.names import NumberedRows
from simulacra.data.pixels import short_to_bytes, unit_to_bytes
from simulacra.data.request import SMALLEST, Request
from simulacra.data.source import Source
from simulacra.data.tensors import ImageArray, image_source, vector_source
from simulacra.errors import EmptySplit, UserError

MOST_CLASSES = 100_000
FEW_CLASSES = 1000  # up to which numbers that no row carries are classes too
LARGEST_GAP = 10  # numbers per distinct label above which labels have gaps
LARGEST_RATIO = 200  # of compression; sparse binary images come to about 110
KEYS = ("images", "points", "labels", "class_names", "test_images", "test_points", "test_labels")


def open_npz(request: Request) -> Source:
    """Open `npz:PATH`, an archive of arrays written by `numpy.savez`.

    `images` is [N, H, W] or [N, H, W, C] with C = 1, 3 or 4 (RGBA, laid over white). Its values are uint8, bool, other
    whole numbers in 0..255, uint16 (scaled from 0..65535 if any is above 255) or floats in [0, 1]. `labels` (optional)
    is [N] of whole numbers from 0, `class_names` (optional) names them. Without names the classes are 0 up to the
    largest label of both splits; but where these are over 1000, and over 10 for each distinct label, the distinct
    labels are the classes, in order and named by their value. `test_images` and `test_labels` (optional) are the test
    split; without them it is the 10% of rows whose number hashes to it.

    In their place `points` [N, D] and `test_points` are vectors, of finite real numbers; they become float32.

    Nothing is unpacked before its size is checked. An array of any size is read, but one over 16 MiB is refused as a
    decompression bomb if it is compressed more than 200 times, and any whose header claims another size than is there.

    Raises:
        UserError: the file cannot be read, or an array does not fit; objects are never unpickled.
    """
    path = os.path.expanduser(request.rest)
    arrays = _load(path)
    what = _kind(path, arrays)
    own_test = f"test_{what}" in arrays
    prefix = "test_" if own_test and request.split == "test" else ""
    array, notes = (_images if what == "images" else _points)(path, arrays, prefix + what)
    labels = _labels(path, arrays, prefix + "labels", len(array))
    classes = None
    if labels is not None:
        labels, classes, more = _classes(path, arrays, labels)
        notes += more
    rows = np.arange(len(array)) if own_test else _split_rows(path, len(array), request.split, what)
    if request.split == "train":
        notes += held_out(len(array) - len(rows), "number")
    chosen: Any = array[rows]
    of, labels = os.path.basename(path), None if labels is None else labels[rows]
    if what == "points":
        counted = f"{len(chosen):,} point{'s' * (len(chosen) != 1)} of {chosen.shape[1]} numbers"
        known = f" in {len(classes):,} classes" if classes else ""
        numbers = None if labels is None else torch.from_numpy(labels)
        names = NumberedRows(of, rows)
        return vector_source(request, torch.from_numpy(chosen), numbers, classes, [counted + known, *notes], names)
    found = ImageArray(of=of, images=chosen, labels=labels, classes=classes, rows=rows, notes=tuple(notes))
    return image_source(request, found)


def _kind(path: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """What the archive holds, "images" or "points"."""
    both = [name for name in ("images", "points") if name in arrays or f"test_{name}" in arrays]
    if len(both) > 1:
        raise UserError(f"{path!r} has arrays of images and of points: keep one of them")
    return both[0] if both else "images"


def _points(path: str, arrays: Mapping[str, NDArray[Any]], key: str) -> tuple[NDArray[np.float32], list[str]]:
    if key not in arrays:
        _no_rows(path, list(arrays))
    array, where = arrays[key], f"{path!r}: '{key}'"
    if array.ndim != 2 or not array.size:
        raise UserError(f"{where} has shape {array.shape}: expected (N, D), none of them 0")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise UserError(f"{where} has type {array.dtype}: expected real numbers")
    with np.errstate(over="ignore"):
        points = array.astype(np.float32)
    if not np.isfinite(points).all():
        row = int(np.flatnonzero(~np.isfinite(points).all(1))[0])
        raise UserError(f"{where} is not finite, or too large for float32, in row {row}: leave such rows out")
    return points, [f"{array.dtype} taken as float32"] if array.dtype != np.float32 else []


def _load(path: str) -> dict[str, NDArray[Any]]:
    if os.path.isdir(path):
        raise UserError(f"{path!r} is a folder, not an npz file: write folder:{path}")
    if not os.path.exists(path):
        raise UserError(f"no file {path!r}: check the path")
    try:
        _check_archive(path)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if name in KEYS} or _no_rows(path, archive.files)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path!r}: {error.strerror or 'it is torn'}") from error
    except Exception as error:  # numpy and zipfile raise many kinds on torn files
        raise UserError(f"cannot read {path!r}: it is torn; save plain arrays with numpy.savez") from error


def _check_archive(path: str) -> None:
    """Refuse, before anything is unpacked, what is no npz and arrays that are not what they say."""
    with open(path, "rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise UserError(f"{path!r} is an npy file: save it with numpy.savez(path, images=...)")
        if not zipfile.is_zipfile(file):
            raise UserError(
                f"cannot read {path!r}: it is not an npz file, or is torn; save plain arrays with numpy.savez"
            )
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if member.filename.removesuffix(".npy") in KEYS:
                    _check_member(path, archive, member)


def _check_member(path: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    where = f"{path!r}: {member.filename.removesuffix('.npy')!r}"
    size, packed = member.file_size, min(member.compress_size, os.path.getsize(path))
    if size > SMALL_MEMBER and size > LARGEST_RATIO * packed:
        raise UserError(
            f"{where} would unpack {packed:,} to {size:,} bytes, like a decompression bomb: "
            "if it is sound, save it uncompressed with numpy.savez"
        )
    with archive.open(member) as file:
        first = np.lib.format.read_magic(file) == (1, 0)
        shape, _, dtype = (np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0)(file)
        held = size - file.tell()
    if dtype.hasobject:
        raise UserError(
            f"cannot read {where}: it holds Python objects, which are never unpickled; "
            "save plain arrays with numpy.savez"
        )
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != held:
        raise UserError(
            f"cannot read {where}: its header claims {claimed:,} bytes and there are {held:,}; save it again"
        )


def _no_rows(path: str, keys: list[str]) -> dict[str, NDArray[Any]]:
    raise UserError(f"{path!r} has no array 'images' or 'points'; it holds: {', '.join(map(repr, keys)) or 'nothing'}")


def _images(path: str, arrays: Mapping[str, NDArray[Any]], key: str) -> tuple[NDArray[np.uint8], list[str]]:
    if key not in arrays:
        _no_rows(path, list(arrays))
    where = f"{path!r}: '{key}'"
    array = _with_channels(where, arrays[key])
    if not len(array):
        raise UserError(f"{where} holds no images (shape {arrays[key].shape})")
    height, width = array.shape[1:3]
    if min(height, width) < SMALLEST:
        raise UserError(f"{where} holds {height}x{width} images: at least {SMALLEST}x{SMALLEST} pixels are needed")
    pixels, notes = _eight_bits(where, array)
    if array.shape[3] == 4:
        return _over_white(pixels), [*notes, "alpha laid over white"]
    return pixels, notes


def _with_channels(where: str, array: NDArray[Any]) -> NDArray[Any]:
    """[N, H, W, C] with C = 1, 3 or 4."""
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 4 and array.shape[3] in (1, 3, 4):
        return array
    if array.ndim == 4 and array.shape[1] in (1, 3, 4):
        raise UserError(f"{where} has shape {array.shape}, channels first: save images.transpose(0, 2, 3, 1) instead")
    raise UserError(f"{where} has shape {array.shape}: expected (N, H, W) or (N, H, W, C) with 1, 3 or 4 channels")


def _eight_bits(where: str, array: NDArray[Any]) -> tuple[NDArray[np.uint8], list[str]]:
    if array.dtype == np.uint8:
        return array, []
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255, ["bool turned to 0 and 255"]
    if array.dtype == np.uint16 and array.max() > 255:
        return short_to_bytes(array), ["16-bit scaled"]
    if np.issubdtype(array.dtype, np.integer):
        if array.min() < 0 or array.max() > 255:
            raise UserError(f"{where} holds {array.dtype} values in {array.min()}..{array.max()}: expected 0..255")
        return array.astype(np.uint8), [f"{array.dtype} taken as 8-bit"]
    if np.issubdtype(array.dtype, np.floating):
        return _from_floats(where, array), ["floats scaled from [0, 1]"]
    raise UserError(f"{where} has type {array.dtype}: expected whole numbers in 0..255 or floats in [0, 1]")


def _from_floats(where: str, array: NDArray[np.floating]) -> NDArray[np.uint8]:
    try:
        return unit_to_bytes(array)
    except ValueError as error:
        raise UserError(f"{where}: {error}; scale them to [0, 1] or save uint8") from error


def _over_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colour, alpha = pixels[..., :3].astype(np.uint32), pixels[..., 3:].astype(np.uint32)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _labels(path: str, arrays: Mapping[str, NDArray[Any]], key: str, count: int) -> NDArray[np.int64] | None:
    if key not in arrays:
        return None
    labels, where = arrays[key], f"{path!r}: '{key}'"
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{where} has type {labels.dtype}: expected whole numbers from 0")
    if labels.shape != (count,):
        raise UserError(f"{where} has shape {labels.shape} for {count:,} rows: expected ({count},)")
    if labels.min() < 0:
        raise UserError(f"{where} holds {labels.min()}: expected whole numbers from 0")
    if labels.max() > np.iinfo(np.int64).max:
        raise UserError(f"{where} holds {labels.max()}: number the classes from 0, at most {MOST_CLASSES:,}")
    return labels.astype(np.int64)


def _classes(
    path: str, arrays: Mapping[str, NDArray[Any]], labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], tuple[str, ...], tuple[str, ...]]:
    """Class numbers of rows, class names, and notes."""
    if "class_names" in arrays:
        return labels, _class_names(path, arrays["class_names"], int(labels.max())), ()
    values = _values(arrays)
    most, notes = int(values[-1]) + 1, ()
    names = range(most)
    if most > max(FEW_CLASSES, LARGEST_GAP * len(values)):
        names = values.tolist()
        notes = (f"labels {names[0]}..{names[-1]} have gaps: classes are the {len(names):,} values that occur",)
        labels = np.searchsorted(values, labels)
    if len(names) > MOST_CLASSES:
        raise UserError(f"{path!r} has {len(names):,} classes: number them from 0, at most {MOST_CLASSES:,}")
    return labels, tuple(map(str, names)), notes


def _values(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Distinct labels of both splits, ascending."""
    both = [arrays[key].ravel() for key in ("labels", "test_labels") if key in arrays]
    values = np.unique(np.concatenate([array.astype(np.int64) for array in both if array.dtype.kind in "iu"]))
    return values[values >= 0]


def _class_names(path: str, names: NDArray[Any], most: int) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise UserError(f"{path!r}: 'class_names' is {names.dtype} of shape {names.shape}: expected a list of strings")
    if most >= len(names):
        raise UserError(f"{path!r}: label {most} is out of range of the {len(names)} 'class_names'")
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names.tolist())


def _split_rows(path: str, count: int, split: str, what: str) -> NDArray[np.int64]:
    rows = np.array([row for row in range(count) if hashed_split(str(row)) == split], np.int64)
    if not len(rows):
        raise EmptySplit(
            f"the {split} split of {path!r} is empty, with {count:,} rows in all: add an array test_{what}"
        )
    return rows
