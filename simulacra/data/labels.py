"""`labels.csv`: which image carries which label."""

import csv
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulacra.data.summary import first_names
from simulacra.errors import UserError

COLUMNS = ("file", "label")


@dataclass(frozen=True, slots=True)
class Labels:
    """Label numbers int64 [N] (-1 outside the splits) and class names, or None for both; notes for the summary."""

    numbers: NDArray[np.int64] | None
    classes: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


def read_labels(where: str, tables: dict[str, bytes], names: list[str], outer: str, used: list[bool]) -> Labels:
    """Labels of the named images.

    Classes are the distinct values of the column `label`, in numeric order where all are whole numbers, otherwise by
    name.

    Args:
        where: what the tables lie in, for messages.
        tables: content of each table by the folder it lies in ("" or "train/"), which its file names are relative to.
        names: all images, by posix path.
        outer: the folder around all images, where a name is looked up too.
        used: whether each image belongs to a split.

    Raises:
        UserError: a table that cannot be read, a used image without a row, a row without an image, or two labels for
            one image.
    """
    known, given = set(names), {}
    for folder, content in tables.items():
        for name, label in _rows(f"{folder}labels.csv in {where}", content):
            name = outer + _plain(name) if folder + _plain(name) not in known else folder + _plain(name)
            if given.setdefault(name, label) != label:
                raise UserError(f"labels.csv in {where} gives {name!r} two labels: {given[name]!r} and {label!r}")
    _check_names(where, given, names, used)
    classes = _classes(set(given.values()))
    number = {name: label for label, name in enumerate(classes)}
    numbers = [number[given[name]] if name in given else -1 for name in names]
    return Labels(np.array(numbers, np.int64), tuple(classes))


def _rows(where: str, content: bytes) -> Iterable[tuple[str, str]]:
    try:
        lines = content.decode("utf-8-sig").splitlines()
        rows = list(csv.reader(lines))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {where}: {' '.join(str(error).split())}; save it as UTF-8 text") from error
    header = [title.strip() for title in rows[0]] if rows else []
    if not set(COLUMNS) <= set(header):
        raise UserError(f"{where} has the columns {header!r}: its first line must name file and label")
    file, label = (header.index(title) for title in COLUMNS)
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) <= max(file, label) or not row[file].strip() or not row[label].strip():
            raise UserError(f"{where}, row {line}: file or label is missing")
        yield row[file].strip(), row[label].strip()


def _plain(name: str) -> str:
    return posixpath.normpath(name.replace("\\", "/"))


def _check_names(where: str, given: dict[str, str], names: list[str], used: list[bool]) -> None:
    unlabelled = [repr(name) for name, needed in zip(names, used) if needed and name not in given]
    missing = [repr(name) for name in sorted(given.keys() - set(names))]
    if unlabelled:
        raise UserError(f"labels.csv in {where} has no row for {len(unlabelled):,} images: {first_names(unlabelled)}")
    if missing:
        raise UserError(f"labels.csv in {where} names {len(missing):,} missing images: {first_names(missing)}")


def _classes(values: set[str]) -> list[str]:
    try:
        return sorted(values, key=lambda value: (int(value), value))
    except ValueError:
        return sorted(values)
