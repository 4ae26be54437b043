"""`folder:PATH` and `zip:PATH`: which files are images, which split and which label each belongs to."""

import hashlib
import os
import posixpath
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from simulacra.data.containers import Archive, Folder, list_folder, list_zip
from simulacra.data.labels import Labels, read_labels
from simulacra.data.pictures import Found, build
from simulacra.data.request import Request
from simulacra.data.source import Source
from simulacra.data.summary import images
from simulacra.errors import EmptySplit, UserError

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
LABELS = "labels.csv"
HELD_OUT = ("val", "valid", "validation")  # folder names that mean a split and are not one of ours


def open_folder(request: Request) -> Source:
    """Open `folder:PATH`. Conventions, for a folder and a zip alike:

    - Images are found by extension at any depth and sorted by relative name; hidden files are ignored. A single outer
      folder around all images is looked through.
    - `train/` and `test/` are the splits. Otherwise the test split is the 10% of images whose relative name hashes to
      it (sha256).
    - `labels.csv` (columns `file`, `label`) gives labels; otherwise the top-level sub folder does, unless images also
      lie beside the sub folders.

    Raises:
        UserError: see `open_data`.
    """
    path = os.path.expanduser(request.rest)
    return build(request, find(f"folder {path!r}", list_folder(path), request.split))


def open_zip(request: Request) -> Source:
    """Open `zip:PATH`, a zip file laid out like a folder (see `open_folder`).

    Raises:
        UserError: see `open_data`.
    """
    path = os.path.expanduser(request.rest)
    return build(request, find(f"zip {path!r}", list_zip(path), request.split))


def find(where: str, container: Folder | Archive, split: str) -> Found:
    """Sort the files of a folder or archive into images, splits and labels.

    Raises:
        UserError: no image at all or in the split, an unclear layout, or a bad `labels.csv`.
    """
    names = list(container.names)
    image = np.array([name.lower().endswith(IMAGES) for name in names], bool)
    if not image.any():
        raise UserError(f"no image in {where} ({', '.join(kind[1:] for kind in IMAGES)}): {len(names):,} other files")
    outer = _outer([name for name, is_image in zip(names, image) if is_image])
    pictures = container.take(np.flatnonzero(image))
    inner = [name[len(outer) :] for name in pictures.names]
    splits, notes = _splits(where, inner, split)
    chosen = np.array([row for row, (s, _) in enumerate(splits) if s == split], np.int64)
    if not len(chosen):
        raise EmptySplit(
            f"the {split} split of {where} is empty: {images(len(inner))} in all; make folders train/ and test/"
        )
    tables = _tables(where, container, names, outer)
    used = [split != "" for split, _ in splits]
    labels = read_labels(where, tables, list(pictures.names), outer, used) if tables else _folder_labels(splits)
    others = len(names) - len(inner) - len(tables)
    if others:
        notes = (*notes, f"{others:,} other file{'s' * (others > 1)} ignored")
    return Found(where, pictures, chosen, labels.numbers, labels.classes, (*labels.notes, *notes))


def _outer(names: Sequence[str]) -> str:
    """The one folder around everything, such as "flowers/", or ""."""
    folder = posixpath.commonpath([posixpath.dirname(name) for name in names])
    return f"{folder}/" if folder else ""


def _splits(where: str, names: list[str], split: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """For every image its split ("" for none) and its name below the split's folder; notes on the split asked for."""
    tops = Counter(name.partition("/")[0] for name in names if "/" in name)
    if {"train", "test"} <= tops.keys():
        pairs = [name.split("/", 1) if name.startswith(("train/", "test/")) else ("", name) for name in names]
        left = sum(top == "" for top, _ in pairs)
        notes = (f"{images(left)} outside train/ and test/ left out",) if left else ()
        return [(top, rest) for top, rest in pairs], notes
    for top in HELD_OUT:
        if "train" in tops and top in tops:
            raise UserError(f"{where} has train/ and {top}/ but no test/: rename {top}/ to test/")
    hashed = [(hashed_split(name), name) for name in names]
    return hashed, held_out(sum(by_name == "test" for by_name, _ in hashed), "name") if split == "train" else ()


def held_out(count: int, by: str) -> tuple[str, ...]:
    """The note on rows that a split by hash keeps from training, if there are any."""
    return (f"{count:,} held out for testing (by {by})",) if count else ()


def hashed_split(name: str) -> str:
    """ "test" for the 10% of names whose sha256 is divisible by ten, otherwise "train"."""
    number = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest(), "big")
    return "train" if number % 10 else "test"


def _folder_labels(splits: list[tuple[str, str]]) -> Labels:
    """Labels by top-level sub folder, where every image lies in one."""
    used = [rest for split, rest in splits if split]
    tops = sorted({rest.partition("/")[0] for rest in used if "/" in rest})
    loose = sum("/" not in rest for rest in used)
    if not tops:
        return Labels(None, None)
    if loose:
        return Labels(None, None, (f"no labels, as {images(loose)} lie beside the sub folders",))
    number = {top: label for label, top in enumerate(tops)}
    return Labels(np.array([number.get(rest.partition("/")[0], -1) for _, rest in splits], np.int64), tuple(tops))


def _tables(where: str, container: Folder | Archive, names: list[str], outer: str) -> dict[str, bytes]:
    """Content of the `labels.csv` at the top, around all images, and in train/ and test/, by the folder they lie in."""
    around = ["", *(outer[: end + 1] for end, letter in enumerate(outer) if letter == "/")]
    row = {name: number for number, name in enumerate(names)}
    places = [place for place in (*around, f"{outer}train/", f"{outer}test/") if place + LABELS in row]
    return {place: _blob(where, container, row[place + LABELS]) for place in places}


def _blob(where: str, container: Folder | Archive, row: int) -> bytes:
    try:
        return container.blob(row)
    except (OSError, ValueError, zlib.error) as error:
        raise UserError(f"cannot read {container.names[row]!r} in {where}: {error}") from error
