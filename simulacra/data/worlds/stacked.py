"""`stacked_mnist`: three digits of MNIST as the channels of one image, a world of a thousand known modes.

The set that mode collapse of images is measured on (Metz et al. 2017, section 3.3.1; Srivastava et al. 2017, VEEGAN,
section 4.2). Its number of training images is VEEGAN's, and that of its test images is the number of samples VEEGAN
counts modes among; VEEGAN draws digits from all 70,000 images of MNIST, here a split has digits of its own split alone.
"""

from dataclasses import replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.data.known import open_mnist
from simulacra.data.names import NumberedRows
from simulacra.data.randoms import bits
from simulacra.data.request import Request
from simulacra.data.source import Source, digest
from simulacra.data.spec import Spec
from simulacra.data.summary import images
from simulacra.errors import UserError

COUNTS = {"train": 128_000, "test": 26_000}
CLASSES = tuple(f"{number:03d}" for number in range(1000))
RECIPE = "stacked_mnist 1"  # changes with anything that changes a row


@final
class Stacker:
    """Reads images uint8 [B, 3, H, W] put together from digits uint8 [N, 1, H, W] by triples int64 [M, 3] of rows."""

    def __init__(self, digits: Tensor, triples: NDArray[np.int64]) -> None:
        self._digits, self._triples = digits, triples

    def read(self, index: NDArray[np.int64]) -> tuple[Tensor, tuple[int, ...]]:
        """The rows; all of them can be read."""
        chosen = torch.from_numpy(self._triples[index].reshape(-1))
        return self._digits.index_select(0, chosen).view(len(index), 3, *self._digits.shape[2:]), ()


def open_stacked_mnist(request: Request) -> Source:
    """Red, green and blue are three digits, drawn independently: 128,000 images to train on, 26,000 to test.

    The label is the number that the digits write, red first: 100 r + 10 g + b. An image is put together when it is
    read, from MNIST in memory (47 MB), which takes no longer than reading it would and so is done in the process that
    asks; with `stream=False` all are, beforehand (301 MB), and with `stream=True` data workers do it.

    Raises:
        UserError: grey images are asked for, or MNIST cannot be had.
    """
    if request.channels == 1:
        raise UserError(f"{request.word!r} has three channels by its making: leave out channels")
    digits = open_mnist(replace(request, word="mnist", channels=None, stream=False))
    assert isinstance(digits.data, Tensor)
    assert digits.labels is not None
    triples = draw(request.split, len(digits))
    reader, spec = Stacker(digits.data, triples), Spec(kind="image", shape=(3, *digits.spec.shape[1:]), classes=CLASSES)
    held = request.stream is False
    made = "put together beforehand" if held else "put together when read"
    return Source(
        word=request.word,
        split=request.split,
        spec=spec,
        summary=f"{images(len(triples))} in 1,000 classes, RGB; each of three of {digits.summary}; {made}",
        fingerprint=digest([RECIPE, spec.as_dict(), len(triples)], [digits.fingerprint.encode()]),
        labels=digits.labels[torch.from_numpy(triples)] @ torch.tensor([100, 10, 1]),
        names=NumberedRows(f"{request.word} ({request.split})", np.arange(len(triples))),
        data=reader.read(np.arange(len(triples)))[0] if held else reader,
        count=len(triples),
        in_memory=not request.stream,
    )


def draw(split: str, digits: int) -> NDArray[np.int64]:
    """Triples int64 [M, 3] of rows below `digits`: row i is a function of (split, i)."""
    words = bits(f"world/stacked_mnist/{split}", 3 * COUNTS[split]).reshape(-1, 3)
    return (words % np.uint64(digits)).astype(np.int64)
