"""Ways of bringing images to the size a network looks at: a score depends on which (Parmar et al. 2022, "On Aliased
Resizing and Surprising Subtleties in GAN Evaluation").

All stretch the whole image to the wanted height and width: nothing is cut off, the aspect ratio may change.
"""

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from simulacra.errors import UserError, unknown

Size = tuple[int, int]
"""Height and width in pixels."""


@final
class Resizer:
    """A way of resizing.

    Attributes:
        name: the word it is asked for with.
        summary: what it does, in one line.
    """

    def __init__(self, name: str, summary: str, resize: Callable[[Tensor, Size], Tensor]) -> None:
        self.name, self.summary, self._resize = name, summary, resize

    def __call__(self, images: Tensor, size: Size) -> Tensor:
        """Images uint8 `[B, C, H, W]` as float32 `[B, C, *size]` in 0 … 255; as they are where the size is theirs."""
        if tuple(images.shape[2:]) == size:
            return images.float()
        return self._resize(images, size)


def _refuse(images: Tensor, size: Size) -> Tensor:
    height, width = images.shape[2:]
    raise UserError(
        f"images of {height}x{width} pixels would have to be resized to {size[0]}x{size[1]}: name a resizer"
    )


def _antialiased(mode: str) -> Callable[[Tensor, Size], Tensor]:
    def resize(images: Tensor, size: Size) -> Tensor:
        return interpolate(images.float(), size, mode=mode, antialias=True, align_corners=False).clamp(0.0, 255.0)

    return resize


def _lanczos(images: Tensor, size: Size) -> Tensor:
    """Channel by channel, on the CPU."""
    planes, (height, width) = images.flatten(0, 1).cpu().numpy(), size
    resized = np.empty((len(planes), height, width), np.uint8)
    for plane, image in enumerate(planes):
        resized[plane] = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    return torch.from_numpy(resized).view(*images.shape[:2], height, width).float().to(images.device)


def _tf_bilinear(images: Tensor, size: Size) -> Tensor:
    """Pixel i of n new ones lies at i·m/n among m old ones: corners, not centres, are aligned, and no filter is
    widened when an image shrinks."""
    for axis, length in zip((2, 3), size):
        place = torch.arange(length, device=images.device) * (images.shape[axis] / length)
        low = place.long()
        high = (low + 1).clamp_max(images.shape[axis] - 1)
        share = (place - low).view(-1, *[1] * (3 - axis))
        images = images.float()
        images = torch.lerp(images.index_select(axis, low), images.index_select(axis, high), share)
    return images


RESIZERS = {
    resizer.name: resizer
    for resizer in (
        Resizer("none", "refuses to resize", _refuse),
        Resizer(
            "bicubic", "bicubic, antialiased, in float32: clamped to 0 … 255 and not rounded", _antialiased("bicubic")
        ),
        Resizer("bilinear", "bilinear, antialiased, in float32, not rounded", _antialiased("bilinear")),
        Resizer("lanczos", "Pillow's Lanczos filter, antialiased, rounded to bytes: as the data loader's", _lanczos),
        Resizer("tf-bilinear", "TensorFlow 1's bilinear, not antialiased: what FID was defined with", _tf_bilinear),
    )
}


def find_resizer(name: str) -> Resizer:
    """The resizer of that name. Raises UserError where there is none."""
    if name not in RESIZERS:
        raise unknown("resizer", name, RESIZERS)
    return RESIZERS[name]
