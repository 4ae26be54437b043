"""Words that stand for latents: samples by number, a picture, a class."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from simulacra.capabilities import Decodes, Encodes, HasClassLatents, HasPrior
from simulacra.data.batch import to_unit
from simulacra.data.pixels import open_picture, pixels, strict_pillow
from simulacra.data.source import Source
from simulacra.data.spec import Spec
from simulacra.errors import UserError, unknown
from simulacra.explore.arithmetic import mean_of
from simulacra.explore.inversion import InversionConfig, invert

CLASS_ROWS = 1000  # rows of a class that its mean is of, at most
BLOCK = 250  # rows that are encoded at a time
LARGEST = 2**62 - 1


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where words get their meaning.

    Attributes:
        model: what decodes the latents.
        spec: what its data looks like.
        seed: of the stream of samples, and of inversion.
        source: labelled data in the model's shape, for means of classes; None where there is none.
        inversion: how pictures are inverted where the model does not encode.
    """

    model: Decodes
    spec: Spec
    seed: int = 0
    source: Source | None = None
    inversion: InversionConfig = field(default_factory=lambda: InversionConfig.read({}, "inversion"))


def latents(word: str, place: Place) -> Tensor:
    """The latents `[n, J]` that `word` stands for.

    - `17` or `3,17,20`: samples of that number, as `sample` draws them from the same seed.
    - `class:7`: one latent. Of a model that encodes, the mean code of up to 1000 rows of that class; of one that is
      told classes, the latent of sample 0 with that class instead of its own.
    - a path: a picture, cropped and resized as data is; its code where the model encodes, else its inversion.

    Raises:
        UserError: none of these, no such class or picture, or a model that lacks what it takes.
    """
    if re.fullmatch(r"\d+(,\d+)*", word):
        return _numbered([int(number) for number in word.split(",")], place)
    if word.startswith("class:"):
        return _of_class(word.removeprefix("class:"), place)
    if not Path(word).expanduser().is_file():
        raise UserError(f"'{word}' is no latent: give numbers of samples (3,17,20), class:NAME, or a picture's file")
    return code(picture(word, place.spec), place)


def _numbered(numbers: list[int], place: Place) -> Tensor:
    if not isinstance(place.model, HasPrior):
        raise UserError("the model has no prior, so samples have no numbers: give a picture, or class:NAME")
    if max(numbers) > LARGEST:
        raise UserError(f"sample {max(numbers)} is out of range: numbers end at {LARGEST}")
    return torch.cat([place.model.prior(1, seed=place.seed, start=number) for number in numbers])


def _of_class(name: str, place: Place) -> Tensor:
    model = place.model
    if isinstance(model, HasClassLatents):
        return model.prior_labelled(torch.tensor([_number_of(name, place.spec)]), seed=place.seed)
    if not isinstance(model, Encodes):
        raise UserError(
            f"class:{name}: the model neither encodes nor is told classes, so they have no latents: give samples"
            " or a picture"
        )
    if place.source is None:
        raise UserError(f"class:{name}: no data to take the class from: name it with --data")
    index = _rows_of(name, place.source)
    blocks = np.split(index, range(BLOCK, len(index), BLOCK))
    return mean_of([model.encode(rows(place.source, block)).detach() for block in blocks])


def _number_of(name: str, spec: Spec) -> int:
    """The number of a class that the model is told."""
    classes = spec.classes or ()
    if name not in classes:
        raise unknown("class of the model", name, classes)
    return classes.index(name)


def _rows_of(name: str, source: Source) -> np.ndarray:
    """The first rows of a class."""
    classes = source.spec.classes
    if classes is None or source.labels is None:
        raise UserError(f"class:{name}: {source.word} has no classes")
    if name not in classes:
        raise unknown(f"class of {source.word}", name, classes)
    index = (source.labels == classes.index(name)).nonzero().flatten().numpy()[:CLASS_ROWS]
    if not len(index):
        raise UserError(f"class:{name}: {source.word} holds no row of it")
    return index


def rows(source: Source, index: np.ndarray) -> Tensor:
    """Rows of a source by number, images float32 `[N, C, H, W]` in [−1, 1], vectors `[N, D]`."""
    return to_unit(source.rows(index))


def picture(path: str | Path, spec: Spec) -> Tensor:
    """An image file as `[1, C, H, W]` in [−1, 1]: its largest centred box of the model's aspect, resized, in grey or
    RGB as the model's.

    Raises:
        UserError: the model makes vectors or images of other channels than 1 or 3, or the file is no sound picture.
    """
    if spec.kind != "image" or spec.channels not in (1, 3):
        made = "vectors" if spec.kind != "image" else f"images of {spec.channels} channels"
        raise UserError(f"{path}: the model makes {made}, not pictures")
    place = Path(path).expanduser()
    if not place.is_file():
        raise UserError(f"there is no picture {path}")
    try:
        with strict_pillow(), open_picture(str(place)) as image:
            data = pixels(image, (spec.height, spec.width), spec.channels)
    except Exception as error:  # Pillow has no common error for a broken file
        raise UserError(f"{path} is no picture that can be read: {' '.join(str(error).split())[:120]}") from None
    return to_unit(torch.tensor(data)[None])


def code(x: Tensor, place: Place) -> Tensor:
    """Latents `[N, J]` of data `[N, ...]`: codes where the model encodes, else inversions."""
    if isinstance(place.model, Encodes):
        return place.model.encode(x).detach()
    return invert(place.model, x, place.inversion, seed=place.seed).latents
