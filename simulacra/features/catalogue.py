"""Extractors by name."""

from collections.abc import Callable
from pathlib import Path

import torch

from simulacra.data.spec import Spec
from simulacra.errors import UserError, unknown
from simulacra.features.classifier import ClassifierExtractor, load
from simulacra.features.extractor import Extractor
from simulacra.features.inception import Inception
from simulacra.features.pixels import Pixels
from simulacra.features.resizing import RESIZERS, Resizer, find_resizer
from simulacra.features.stacked import StackedExtractor

SHIPPED = Path(__file__).parent / "weights"
DEFAULT = RESIZERS["bicubic"]  # of the extractors that have no resizing of their own
OWN = "PATH.safetensors"

Finder = Callable[[Spec, Resizer | None, torch.device], Extractor]


def _classifier(name: str, path: Path, spec: Spec, resizer: Resizer | None, device: torch.device) -> Extractor:
    return ClassifierExtractor(name, load(path), spec, resizer or DEFAULT, device)


def _mnist(spec: Spec, resizer: Resizer | None, device: torch.device) -> Extractor:
    return _classifier("mnist", SHIPPED / "mnist.safetensors", spec, resizer, device)


def _stacked_mnist(spec: Spec, resizer: Resizer | None, device: torch.device) -> Extractor:
    channel = ClassifierExtractor("mnist", load(SHIPPED / "mnist.safetensors"), spec, resizer or DEFAULT, device)
    return StackedExtractor("stacked_mnist", channel, spec)


def _pixels(spec: Spec, resizer: Resizer | None, device: torch.device) -> Extractor:
    if resizer:
        raise UserError("pixels are taken as they are: leave out the resizer")
    return Pixels(device)


EXTRACTORS: dict[str, Finder] = {
    "inception": Inception.find,
    "mnist": _mnist,
    "stacked_mnist": _stacked_mnist,
    "pixels": _pixels,
}


def find_extractor(
    name: str, spec: Spec, *, resizer: str | None = None, device: str | torch.device = "cpu"
) -> Extractor:
    """The extractor that `name` means, for rows of `spec`.

    Args:
        name: "inception", "mnist", "stacked_mnist", "pixels", or the path of one made by `simulacra extractor train`.
        spec: the rows it will see.
        resizer: a name from `features.resizing.RESIZERS`; by default "tf-bilinear" for Inception, "bicubic" for others.
        device: where it computes.

    Raises:
        UserError: an unknown name, a file that is damaged or none of ours, an extractor that does not go with `spec`,
            or weights that cannot be had.
    """
    if spec.kind == "vector" and name != "pixels":
        raise UserError(f"'{name}' looks at images, and these are vectors: take '--features pixels'")
    if spec.kind == "image" and name != "pixels" and spec.channels not in (1, 3):
        raise UserError(f"'{name}' looks at images of 1 or 3 channels, and these have {spec.channels}: take pixels")
    chosen, device = resizer and find_resizer(resizer), torch.device(device)
    if name in EXTRACTORS:
        return EXTRACTORS[name](spec, chosen or None, device)
    if name.endswith(".safetensors"):
        path = Path(name).expanduser()
        return _classifier(path.name, path, spec, chosen or None, device)
    raise unknown("extractor", name, (*EXTRACTORS, OWN))


SMALLEST = 32  # pixels: Inception says little of smaller images


def default_extractor(word: str, spec: Spec) -> str:
    """The extractor that rows of the data word `word` are looked at through unless another one is asked for."""
    if word in ("mnist", "stacked_mnist"):
        return word
    return "pixels" if spec.kind == "vector" or min(spec.height, spec.width) < SMALLEST else "inception"
