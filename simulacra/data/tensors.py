"""From an array of images in memory to a source: fit size and channels, summarise, fingerprint."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from simulacra.data.names import NumberedRows
from simulacra.data.pixels import RESIZING, fit
from simulacra.data.request import Request
from simulacra.data.source import IN_MEMORY_BYTES, Source, rows_bytes, tensor_digest
from simulacra.data.spec import Spec
from simulacra.data.summary import colours, images
from simulacra.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageArray:
    """Images uint8 [N, H, W, C] of one split, labels int64 [N] or None, and the number of each row in its file."""

    of: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] | None = None
    rows: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = field(default=())


def image_source(request: Request, found: ImageArray) -> Source:
    """A source of images, resized and turned to grey or colour where asked."""
    count, *size, channels = found.images.shape
    wanted = request.size or (size[0], size[1])
    turned = _convert(found.images, wanted, request.channels or channels)
    spec = Spec(kind="image", shape=tuple(turned.shape[1:]), classes=found.classes)
    classes = f" in {len(found.classes):,} classes" if found.classes else ""
    notes = [f"{images(count)}{classes}, {spec.height}x{spec.width} {colours(spec.channels)}", *found.notes]
    if wanted != tuple(size):
        notes.append(f"{size[0]}x{size[1]} {RESIZING} to {wanted[0]}x{wanted[1]}")
    if spec.channels != channels:
        notes.append("colour turned to grey" if spec.channels == 1 else "grey repeated as RGB")
    labels = None if found.labels is None else torch.from_numpy(found.labels.astype(np.int64))
    names = NumberedRows(found.of, np.arange(count) if found.rows is None else found.rows)
    return _held(request, spec, torch.from_numpy(turned), labels, names, notes)


def vector_source(
    request: Request,
    data: Tensor,
    labels: Tensor | None,
    classes: tuple[str, ...] | None,
    notes: list[str],
    names: NumberedRows | None = None,
) -> Source:
    """A source of vectors float32 [N, D], named by their numbers unless `names` says otherwise.

    Raises:
        UserError: an image size or number of channels was asked for.
    """
    if request.size or request.channels:
        raise UserError(
            f"{request.word!r} holds points, which have no size and no channels: choose images, or leave those out"
        )
    spec = Spec(kind="vector", shape=(data.shape[1],), classes=classes)
    names = names or NumberedRows(f"{request.word} ({request.split})", np.arange(len(data)))
    return _held(request, spec, data, labels, names, notes)


def _held(
    request: Request, spec: Spec, data: Tensor, labels: Tensor | None, names: NumberedRows, notes: list[str]
) -> Source:
    large = rows_bytes(spec, len(data)) > IN_MEMORY_BYTES
    streamed = large if request.stream is None else request.stream
    return Source(
        word=request.word,
        split=request.split,
        spec=spec,
        summary="; ".join(notes + ["streamed"] * streamed),
        fingerprint=tensor_digest(spec, data, labels),
        labels=labels,
        names=names,
        data=data,
        count=len(data),
        in_memory=not streamed,
    )


def _convert(found: NDArray[np.uint8], size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """uint8 [N, H, W, C] to [N, C, H, W] of the wanted size and channels."""
    if found.shape[1:3] == size and found.shape[3] == channels:
        return np.ascontiguousarray(found.transpose(0, 3, 1, 2))
    turned = np.empty((len(found), channels, *size), np.uint8)
    for row, image in enumerate(found):
        im = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        array = np.asarray(fit(im.convert("L" if channels == 1 else "RGB"), size))
        turned[row] = array.reshape(*size, channels).transpose(2, 0, 1)
    return turned
