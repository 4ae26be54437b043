"""From encoded pictures (a folder, an archive, a table) to a source: scan, choose a common shape, decode."""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import cpu_count
from typing import Protocol, Self, TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from simulacra.data.names import RowNames
from simulacra.data.pixels import RESIZING, Header, header, pixels, strict_pillow
from simulacra.data.request import Request
from simulacra.data.source import IN_MEMORY_BYTES, Source, digest, rows_bytes, tensor_digest
from simulacra.data.spec import Spec
from simulacra.data.summary import colours, first_names, images
from simulacra.errors import UserError

MIXED_SIZE = (64, 64)  # (H, W) where sizes are mixed and none is asked for
SAMPLED_FILES = 256  # files whose bytes enter the fingerprint of a streamed source
T = TypeVar("T")


class Pictures(Protocol):
    """Encoded pictures by number. It must pickle and fork cheaply, and be read by several threads at once."""

    @property
    def names(self) -> RowNames: ...

    def __len__(self) -> int: ...

    def open(self, row: int) -> Image.Image:
        """The picture, opened and not yet decoded; raises whatever Pillow and the file system raise."""
        ...

    def blob(self, row: int) -> bytes:
        """The encoded bytes."""
        ...

    def sizes(self) -> NDArray[np.int64]:
        """Encoded bytes of each picture."""
        ...

    def take(self, rows: NDArray[np.int64]) -> Self:
        """The pictures of the given rows, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """Pictures of all splits and what the place they lie in says about them.

    `chosen` are the rows of the split asked for, `labels` int64 [N] (all rows) or None, `notes` go into the summary.
    """

    where: str
    pictures: Pictures
    chosen: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """Sizes (H, W) int32 [N, 2], grey bool [N] and traits of sound headers; what is wrong with the others, by row."""

    sizes: NDArray[np.int32]
    grey: NDArray[np.bool_]
    traits: Counter[str]
    broken: dict[int, str]


def build(request: Request, found: Found) -> Source:
    """Open the chosen split of what was found.

    Raises:
        UserError: no usable image, or broken images that were not to be skipped.
    """
    with strict_pillow():
        scan = _scan(found)
        spec, notes = _choose(request, found, scan)
        broken = _broken(found, scan)
        sound = _without(found, broken)
        if not _fits_memory(request, spec, len(sound.chosen)):
            _check_broken(request, found, broken)
            return _streamed(request, sound, spec, _counted(notes, broken))
        data, torn = _decode_all(sound, spec)
    broken |= torn
    _check_broken(request, found, broken)
    sound = _without(sound, torn)
    return _in_memory(request, sound, spec, data, _counted(notes, broken))


def _scan(found: Found) -> Scan:
    """Read every header, of all splits, so that they agree on a shape; count the traits of the chosen split."""
    sizes = np.zeros((len(found.pictures), 2), np.int32)
    grey = np.ones(len(found.pictures), bool)
    chosen = np.zeros(len(found.pictures), bool)
    chosen[found.chosen] = True
    scan = Scan(sizes, grey, Counter(), {})
    for row, head in enumerate(_each(range(len(found.pictures)), lambda row: _attempt(lambda: _header(found, row)))):
        if isinstance(head, str):
            scan.broken[row] = head
            continue
        sizes[row], grey[row] = (head.height, head.width), head.grey
        if chosen[row]:
            scan.traits.update(head.traits)
    return scan


def _broken(found: Found, scan: Scan) -> dict[int, str]:
    """What is wrong with headers of the chosen split, by row of all pictures."""
    return {row: scan.broken[row] for row in found.chosen.tolist() if row in scan.broken}


def _header(found: Found, row: int) -> Header:
    with found.pictures.open(row) as im:
        return header(im)


def _choose(request: Request, found: Found, scan: Scan) -> tuple[Spec, tuple[str, ...]]:
    """The common shape, and notes on what it took."""
    sound = np.setdiff1d(np.arange(len(found.pictures)), list(scan.broken))
    if not len(sound):
        raise UserError(f"no usable image in {found.where}: {_complaint(found, _broken(found, scan))}")
    notes = [f"{count:,} {trait}" for trait, count in sorted(scan.traits.items())]
    kinds = np.unique(scan.sizes[sound], axis=0)
    size = request.size or (MIXED_SIZE if len(kinds) > 1 else (int(kinds[0, 0]), int(kinds[0, 1])))
    if len(kinds) > 1 or tuple(kinds[0]) != size:
        notes.append(_resized(kinds, size, chosen=request.size is not None))
    grey = bool(scan.grey[sound].all())
    channels = request.channels or (1 if grey else 3)
    if channels == 1 and not grey:
        notes.append("colour turned to grey")
    return Spec(kind="image", shape=(channels, *size), classes=found.classes), (*notes, *found.notes)


def _resized(kinds: NDArray[np.int32], size: tuple[int, int], *, chosen: bool) -> str:
    to = f"{size[0]}x{size[1]}"
    if len(kinds) == 1:
        return f"{kinds[0, 0]}x{kinds[0, 1]} {RESIZING} to {to}"
    ranges = "x".join(f"{low}..{high}" for low, high in zip(kinds.min(0), kinds.max(0)))
    default = "" if chosen else " by default: choose another with size"
    return f"mixed sizes ({ranges}) {RESIZING} to {to}{default}"


def _fits_memory(request: Request, spec: Spec, count: int) -> bool:
    return not request.stream and (request.stream is False or rows_bytes(spec, count) <= IN_MEMORY_BYTES)


def _decode_all(found: Found, spec: Spec) -> tuple[Tensor, dict[int, str]]:
    """Chosen rows that decode, uint8 [N, C, H, W], and what is wrong with the others by row of all pictures."""
    data = np.empty((len(found.chosen), *spec.shape), np.uint8)
    torn: dict[int, str] = {}
    good = 0
    for row, image in zip(found.chosen.tolist(), _each(found.chosen.tolist(), _decoder(found.pictures, spec))):
        if isinstance(image, str):
            torn[row] = image
        else:
            data[good] = image
            good += 1
    return torch.from_numpy(data[:good]), torn


def _decoder(pictures: Pictures, spec: Spec) -> Callable[[int], NDArray[np.uint8] | str]:
    def decode(row: int) -> NDArray[np.uint8]:
        with pictures.open(row) as im:
            return pixels(im, (spec.height, spec.width), spec.channels)

    return lambda row: _attempt(lambda: decode(row))


def _each(rows: Iterable[int], work: Callable[[int], T]) -> Iterable[T]:
    """Work on every row with a few threads (Pillow frees the lock while it decodes), in order, not too far ahead."""
    rows = list(rows)
    with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        for start in range(0, len(rows), 256):
            yield from pool.map(work, rows[start : start + 256])


def _attempt(work: Callable[[], T]) -> T | str:
    """The result, or in words why there is none: Pillow has no common error for a broken file."""
    try:
        return work()
    except UnidentifiedImageError:
        return "not an image of a known format"
    except Exception as error:
        words = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return " ".join(words.split())[:120] or type(error).__name__


def _without(found: Found, broken: dict[int, str]) -> Found:
    return replace(found, chosen=np.setdiff1d(found.chosen, list(broken))) if broken else found


def _check_broken(request: Request, found: Found, broken: dict[int, str]) -> None:
    if broken and len(broken) == len(found.chosen):
        raise UserError(f"no usable image in {found.where}: {_complaint(found, broken)}")
    if broken and not request.skip_broken:
        raise UserError(
            f"{found.where}: {_complaint(found, broken)}; repair or remove them, or skip them (--skip-broken)"
        )


def _complaint(found: Found, broken: dict[int, str]) -> str:
    named = [f"{found.pictures.names[row]!r} ({why})" for row, why in broken.items()]
    return f"{len(broken):,} of {images(len(found.chosen))} broken: {first_names(named)}"


def _counted(notes: tuple[str, ...], broken: dict[int, str]) -> tuple[str, ...]:
    return (*notes, f"{len(broken):,} broken left out") if broken else notes


def _labels(found: Found) -> Tensor | None:
    return None if found.labels is None else torch.from_numpy(found.labels[found.chosen])


def _summary(request: Request, found: Found, spec: Spec, notes: tuple[str, ...]) -> str:
    classes = f" in {len(spec.classes):,} classes" if spec.classes else ""
    head = f"{images(len(found.chosen))}{classes}, {spec.height}x{spec.width} {colours(spec.channels)}"
    return "; ".join([head, *notes])


def _in_memory(request: Request, found: Found, spec: Spec, data: Tensor, notes: tuple[str, ...]) -> Source:
    labels = _labels(found)
    return Source(
        word=request.word,
        split=request.split,
        spec=spec,
        summary=_summary(request, found, spec, notes),
        fingerprint=tensor_digest(spec, data, labels),
        labels=labels,
        names=found.pictures.take(found.chosen).names,
        data=data,
        count=len(data),
        in_memory=True,
    )


def _streamed(request: Request, found: Found, spec: Spec, notes: tuple[str, ...]) -> Source:
    pictures, labels = found.pictures.take(found.chosen), _labels(found)
    return Source(
        word=request.word,
        split=request.split,
        spec=spec,
        summary=_summary(request, found, spec, (*notes, "streamed")),
        fingerprint=_sampled_digest(pictures, spec, labels),
        labels=labels,
        names=pictures.names,
        data=PictureReader(pictures, spec, labels, request.skip_broken),
        count=len(pictures),
        in_memory=False,
    )


def _sampled_digest(pictures: Pictures, spec: Spec, labels: Tensor | None) -> str:
    rows = range(len(pictures))
    names = "\0".join(pictures.names[row] for row in rows).encode("utf-8", "surrogateescape")
    sampled = np.unique(np.linspace(0, len(pictures) - 1, SAMPLED_FILES).round().astype(np.int64)).tolist()
    numbers = b"" if labels is None else labels.numpy()
    return digest([spec.as_dict(), RESIZING], [names, pictures.sizes(), numbers, *map(pictures.blob, sampled)])


@final
class PictureReader:
    """Decodes rows on demand. With `skip` the next good row of the same label, around the end, replaces a bad one."""

    def __init__(self, pictures: Pictures, spec: Spec, labels: Tensor | None, skip: bool) -> None:
        self._pictures, self._spec, self._labels, self._skip = pictures, spec, labels, skip

    def read(self, index: NDArray[np.int64]) -> tuple[Tensor, tuple[int, ...]]:
        """uint8 [B, C, H, W] and the rows that another stands in for."""
        data = np.empty((len(index), *self._spec.shape), np.uint8)
        broken: list[int] = []
        with strict_pillow():
            decode = _decoder(self._pictures, self._spec)
            for place, row in enumerate(index.tolist()):
                data[place] = self._good(decode, row, broken)
        return torch.from_numpy(data), tuple(broken)

    def _good(self, decode: Callable[[int], NDArray[np.uint8] | str], row: int, broken: list[int]) -> NDArray[np.uint8]:
        image = decode(row)
        if not isinstance(image, str):
            return image
        if not self._skip:
            raise UserError(
                f"{self._pictures.names[row]!r} is broken: {image}; repair or remove it, or skip it (--skip-broken)"
            )
        broken.append(row)
        for other in self._others(row):
            image = decode(other)
            if not isinstance(image, str):
                return image
        raise UserError(f"{self._pictures.names[row]!r} is broken, and so is every other image of its class")

    def _others(self, row: int) -> Iterable[int]:
        around = (np.arange(1, len(self._pictures)) + row) % len(self._pictures)
        if self._labels is None:
            return around.tolist()
        labels = self._labels.numpy()
        return around[labels[around] == labels[row]].tolist()
