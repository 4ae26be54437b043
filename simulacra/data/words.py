"""The words that `--data` takes."""

import os
from collections.abc import Callable, Sequence
from typing import Literal

from simulacra.data.arrays import open_npz
from simulacra.data.faces import open_frey_faces, open_olivetti_faces
from simulacra.data.files import open_folder, open_zip
from simulacra.data.hub import open_hub
from simulacra.data.joined import join
from simulacra.data.known import (
    open_binarized_mnist,
    open_cifar10,
    open_digits,
    open_fashion_mnist,
    open_mnist,
    open_usps,
)
from simulacra.data.request import SPLITS, Request
from simulacra.data.source import Source
from simulacra.data.worlds.grammar import open_grammar
from simulacra.data.worlds.points import open_grid, open_ring
from simulacra.data.worlds.stacked import open_stacked_mnist
from simulacra.errors import EmptySplit, UserError, unknown

Opener = Callable[[Request], Source]
NAMES: dict[str, Opener] = {
    "digits": open_digits,
    "mnist": open_mnist,
    "binarized_mnist": open_binarized_mnist,
    "fashion_mnist": open_fashion_mnist,
    "usps": open_usps,
    "cifar10": open_cifar10,
    "frey_faces": open_frey_faces,
    "olivetti_faces": open_olivetti_faces,
    "ring": open_ring,
    "grid": open_grid,
    "stacked_mnist": open_stacked_mnist,
    "grammar": open_grammar,
}
PREFIXES: dict[str, Opener] = {"folder": open_folder, "zip": open_zip, "npz": open_npz, "hf": open_hub}
ARGUMENTS = {"folder": "PATH", "zip": "PATH", "npz": "PATH", "hf": "owner/name"}


def data_words() -> tuple[str, ...]:
    """All words, for help texts: "digits", ..., "folder:PATH", ..."""
    return (*NAMES, *(f"{prefix}:{argument}" for prefix, argument in ARGUMENTS.items()))


def shareable(word: str) -> str:
    """A data word for a file that others read: of a path, only its end."""
    prefix, colon, rest = word.partition(":")
    return f"{prefix}:{os.path.basename(os.path.normpath(rest))}" if colon and prefix not in ("", "hf") else word


def open_data(
    word: str,
    *,
    split: str = "train",
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    skip_broken: bool = False,
    stream: bool | None = None,
) -> Source:
    """Open one split of a data set.

    Args:
        word: a known name ("digits", "mnist", ...), a world ("ring", "grid"), or "folder:PATH", "zip:PATH", "npz:PATH",
            "hf:owner/name".
        split: "train", "test", or "all": both, one after the other.
        size: (H, W) in pixels that images are cropped and resized to; by default their own, 64x64 where sizes differ.
        channels: 1 (grey) or 3 (RGB); by default 1 where all images are grey, 3 otherwise.
        skip_broken: leave out images that cannot be decoded instead of refusing the data set.
        stream: True decodes on demand, False holds everything in memory; by default up to 1 GiB is held.

    Raises:
        UserError: one line that says what is wrong, where, and the way out.
    """
    opener = _opener(word)
    splits = SPLITS if split == "all" else (split,)
    requests = [
        Request(word=word, split=each, size=size, channels=channels, skip_broken=skip_broken, stream=stream)
        for each in splits
    ]
    return opener(requests[0]) if len(requests) == 1 else _all(opener, requests)


def _all(opener: Opener, requests: Sequence[Request]) -> Source:
    """All splits that hold rows, as one source."""
    found: list[Source] = []
    for request in requests:
        try:
            found.append(opener(request))
        except EmptySplit:
            if request is requests[-1] and not found:
                raise
    return join(found)


def _opener(word: str) -> Opener:
    prefix, colon, rest = word.partition(":")
    if colon and prefix in PREFIXES:
        if not rest or "\0" in rest:
            raise UserError(f"{word!r} names nothing: write {prefix}:{ARGUMENTS[prefix]}")
        return PREFIXES[prefix]
    if word in NAMES:
        return NAMES[word]
    if word and "\0" not in word and os.path.exists(word):
        raise UserError(f"{word!r} is a path: write {_written(word)!r}")
    raise unknown("data set", word, data_words())


def _written(path: str) -> str:
    """The word that may be meant by a path: a folder or an archive, or the folder that a file lies in."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix in (".npz", ".zip") and not os.path.isdir(path):
        return f"{suffix[1:]}:{path}"
    return f"folder:{path if os.path.isdir(path) else os.path.dirname(path) or '.'}"
