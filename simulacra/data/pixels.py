"""From an opened image file to uint8 pixels: the conversions that make any picture fit the data set."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from simulacra.data.request import SMALLEST

RESIZING = "centre-cropped and resized (Lanczos, antialiased)"
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # others, some of which run programs, are never tried
GREY_MODES = ("1", "L", "LA", "La", "F")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says before it is decoded: size in pixels after EXIF rotation, colour, what needs doing."""

    height: int
    width: int
    grey: bool
    traits: tuple[str, ...]


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Turn Pillow's warning about decompression bombs into an error and silence its other warnings.

    Warning filters belong to the process, so this wraps a whole scan, threads included, and not a single image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def open_picture(file: str | IO[bytes]) -> Image.Image:
    """Open an image file of one of the known formats, whatever its name says; raises what Pillow raises."""
    return Image.open(file, formats=FORMATS)


def header(im: Image.Image) -> Header:
    """Read the header of an opened image.

    Raises:
        ValueError: the image is smaller than 4x4.
    """
    turn = _orientation(im)
    width, height = _stored_size(im) if turn < 5 else _stored_size(im)[::-1]
    if min(width, height) < SMALLEST:
        raise ValueError(f"{height}x{width} pixels, under {SMALLEST}x{SMALLEST}")
    return Header(height, width, _is_grey(im), tuple(_traits(im, turn)))


def pixels(im: Image.Image, size: tuple[int, int] | None, channels: int) -> NDArray[np.uint8]:
    """Decode an opened image to uint8 [C, H, W]; `size` is (H, W), None keeps the image's own.

    Animations give their first frame; transparent pixels are laid over white; 16-bit and [0, 1] float pixels are
    scaled; colour becomes grey as ITU-R 601 luma.

    Raises:
        ValueError: integer pixels outside 0..65535 or float pixels outside [0, 1].
        Exception: whatever Pillow raises on a broken file.
    """
    turn = 1 if im.format == "TIFF" else _orientation(im)  # Pillow turns TIFF by itself while loading
    im.load()
    flat = _flatten(_eight_bits(im), "L" if channels == 1 else "RGB")
    if turn in TURNS:
        flat = flat.transpose(TURNS[turn])
    array = np.asarray(fit(flat, size) if size else flat)
    return np.ascontiguousarray(array.reshape(*array.shape[:2], channels).transpose(2, 0, 1))


def fit(im: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Cut the largest centred box of the target's aspect and resize it to (H, W) with an antialiased Lanczos filter."""
    height, width = size
    if im.size == (width, height):
        return im
    scale = min(im.width / width, im.height / height)
    left, top = (im.width - width * scale) / 2, (im.height - height * scale) / 2
    return im.resize((width, height), Image.Resampling.LANCZOS, box=(left, top, im.width - left, im.height - top))


def _stored_size(im: Image.Image) -> tuple[int, int]:
    """(width, height) before rotation; for TIFF some versions of Pillow give the size after it."""
    if isinstance(im, TiffImageFile):
        return im.tag_v2[ExifTags.Base.ImageWidth], im.tag_v2[ExifTags.Base.ImageLength]
    return im.size


def _orientation(im: Image.Image) -> int:
    """EXIF orientation 1..8. A PNG without EXIF in its header is not asked: Pillow would decode it all to look on."""
    if im.format == "PNG" and "exif" not in im.info:
        return 1
    try:
        turn = im.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # torn EXIF beside sound pixels: Pillow raises many kinds
        return 1
    return turn if turn in TURNS else 1


def _is_grey(im: Image.Image) -> bool:
    if im.mode != "P":
        return im.mode in GREY_MODES or im.mode.startswith("I")
    if im.palette is None or (im.palette.rawmode or im.palette.mode) != "RGB":
        return False
    colours = np.frombuffer(bytes(im.palette.palette), dtype=np.uint8)
    colours = colours[: len(colours) // 3 * 3].reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _traits(im: Image.Image, turn: int) -> Iterator[str]:
    if turn > 1:
        yield "EXIF-rotated"
    if im.mode in ("P", "PA"):
        yield "palette converted"
    if im.has_transparency_data:
        yield "alpha laid over white"
    if im.mode == "CMYK":
        yield "CMYK converted"
    if im.mode.startswith("I"):
        yield "16-bit scaled"
    elif _sample_bits(im) == 16:
        yield "16-bit cut to 8 bits"
    if im.mode == "F":
        yield "float scaled"
    if getattr(im, "is_animated", False):  # only the formats that can hold several frames have it
        yield "cut to the first frame"


def _sample_bits(im: Image.Image) -> int:
    """Bits of a sample in the file, as far as told by the tags of a TIFF or Pillow's plan for decoding a PNG."""
    if isinstance(im, TiffImageFile):
        return max(im.tag_v2.get(ExifTags.Base.BitsPerSample, (1,)))
    plans = im.tile if isinstance(im, PngImageFile) else []
    return 16 if any(";16" in str(plan[3]) for plan in plans) else 8


def _eight_bits(im: Image.Image) -> Image.Image:
    """Scale 16-bit and float pixels to 0..255. (Pillow itself keeps the high byte of 16-bit colour.)"""
    if im.mode == "F":
        return Image.fromarray(unit_to_bytes(np.asarray(im)))
    if not im.mode.startswith("I"):
        return im
    values = np.asarray(im)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("integer pixels outside 0..65535")
    return Image.fromarray(short_to_bytes(values))


def unit_to_bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Scale floats from [0, 1] to 0..255, rounding to nearest.

    Raises:
        ValueError: NaN, infinity or a value outside [0, 1].
    """
    if not np.isfinite(values).all():
        raise ValueError("float pixels with NaN or infinity")
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"float pixels in [{values.min():g}, {values.max():g}], not [0, 1]")
    return np.rint(values.astype(np.float64 if values.itemsize > 4 else np.float32) * 255).astype(np.uint8)


def short_to_bytes(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Scale integers from 0..65535 to 0..255, rounding to nearest."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _flatten(im: Image.Image, mode: str) -> Image.Image:
    if im.has_transparency_data:
        im = im.convert("RGBA")
        im = Image.alpha_composite(Image.new("RGBA", im.size, "white"), im)
    if im.mode not in ("1", "L"):
        im = im.convert("RGB")
    return im.convert(mode)
