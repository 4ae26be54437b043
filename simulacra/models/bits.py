"""From brightness to bits: what the models of black and white pixels see of an image."""

from torch import Tensor

from simulacra.data.spec import Spec
from simulacra.errors import UserError

DRAWN = "grey pixels become bits, drawn anew each time with their brightness as probability"
CUT = "grey pixels become bits: whether they are brighter than half"


def binarised(x: Tensor, uniform: Tensor) -> Tensor:
    """Bits of images `[N, ...]` in [−1, 1], each one with its pixel's brightness (x + 1) / 2 as probability, by
    `uniform` numbers in [0, 1) of the same shape. What is black or white already stays as it is."""
    return (uniform < 0.5 * (x + 1.0)).to(x.dtype)


def require_brightness(x: Tensor) -> Tensor:
    """`x` itself. Raises UserError where a value is outside [−1, 1], the range of images, or is not a number."""
    if not bool(((x >= -1.0) & (x <= 1.0)).all()):
        raise UserError(f"pixels outside [-1, 1] ({x.min().item():.4g} to {x.max().item():.4g}): scale images to it")
    return x


def require_images(spec: Spec, name: str) -> None:
    """Raises UserError where the data of the model `name` is not images of at least two numbers."""
    if spec.kind != "image":
        raise UserError(f"{name} is of the bits of images, the data is vectors: take realnvp, which models real values")
    if spec.numel < 2:
        raise UserError(f"{name} tells bits apart by those before them, the data has one pixel: it needs two or more")
