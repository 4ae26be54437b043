"""What exploring leaves: a sheet of pictures (PNG), or a film (GIF, MP4)."""

import io
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from simulacra import images
from simulacra.data.spec import Spec
from simulacra.disk import replace
from simulacra.errors import MachineError, UserError

FILMS = (".gif", ".mp4")
WIDEST = 320  # pixels to which the frames of a film are enlarged at most
GAP = 2  # white pixels between pictures of a frame


def suffix_of(out: str | Path, spec: Spec, *, still: bool = False) -> str:
    """What `out` asks for: ".png", ".gif" or ".mp4". To be asked before any work.

    Raises:
        UserError: another suffix, a film where there is nothing that moves (`still`) or of vectors, data that has no
            picture, or an MP4 without PyAV.
    """
    suffix = Path(out).suffix.lower()
    if suffix not in (".png", *FILMS):
        raise UserError(f"cannot write '{suffix or out}': write X.png (a sheet), X.gif or X.mp4 (a film)")
    if suffix in FILMS and still:
        raise UserError(f"cannot write '{suffix}': nothing here moves, write X.png")
    if not images.drawable(spec):
        raise UserError(f"data of shape {spec.shape} has no picture: grey or RGB images have, and points in the plane")
    if suffix in FILMS and spec.kind != "image":
        raise UserError("points make no film: write X.png, a scatter plot coloured by row")
    if suffix == ".mp4":
        _av()
    return suffix


def write(frames: Tensor, out: str | Path, spec: Spec, *, fps: int = 20, back: bool = False) -> None:
    """Write R things that move through T frames, `[T, R, C, H, W]` in [−1, 1] or points `[T, R, 2]`.

    - `X.png`: one row per thing, one column per frame; points as a scatter plot, coloured by thing.
    - `X.gif`, `X.mp4`: a film of all things in a grid, `fps` frames a second; with `back`, there and back again. A GIF
      runs for ever, with times in hundredths of a second, in 64 greys or at most 256 colours.

    Raises:
        UserError: as `suffix_of`.
        MachineError: the disk is full or cannot be written to.
    """
    suffix, place = suffix_of(out, spec), Path(out).expanduser()
    if suffix == ".png":
        return _sheet(frames, place, spec)
    if back:
        frames = torch.cat([frames, frames.flip(0)[1:-1]])
    pictures = [_tiled(images.to_uint8(frame.cpu())) for frame in frames]
    content = _gif(pictures, fps) if suffix == ".gif" else _mp4(pictures, fps)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        replace(place, content)
    except OSError as error:
        raise MachineError(f"cannot write {place}: {error.strerror or error}") from error


def _sheet(frames: Tensor, place: Path, spec: Spec) -> None:
    across = frames.transpose(0, 1)
    if spec.kind == "image":
        images.write_grid(across.flatten(0, 1).cpu(), place, columns=len(frames))
    else:
        things = torch.arange(len(across)).repeat_interleave(len(frames))
        images.write(across.flatten(0, 1).cpu(), place, spec, things)


def _tiled(tiles: Tensor) -> Image.Image:
    """Bytes `[R, C, H, W]` as one picture that is about square, of even sides as MP4 wants them."""
    count, channels, height, width = tiles.shape
    columns = min(count, math.ceil(math.sqrt(count * height / width)))
    down = -(-count // columns)
    factor = max(1, WIDEST // max(columns * (width + 1), down * (height + 1)))
    big = tiles.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    high, wide = big.shape[2] + GAP, big.shape[3] + GAP
    sheet = torch.full((channels, _even(down * high + GAP), _even(columns * wide + GAP)), 255, dtype=torch.uint8)
    for k, tile in enumerate(big):
        top, left = GAP + k // columns * high, GAP + k % columns * wide
        sheet[:, top : top + tile.shape[1], left : left + tile.shape[2]] = tile
    pixels = sheet.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels)


def _even(length: int) -> int:
    return length + length % 2


def _gif(pictures: list[Image.Image], fps: int) -> bytes:
    flat = [_few_colours(picture) for picture in pictures]
    file = io.BytesIO()
    duration = max(20, round(100 / fps) * 10)
    flat[0].save(file, format="GIF", save_all=True, append_images=flat[1:], duration=duration, loop=0)
    return file.getvalue()


def _few_colours(picture: Image.Image) -> Image.Image:
    """As a GIF holds it. Among 64 greys, unlike 256, the rounding noise of a flat ground is gone, which takes half of
    the file."""
    if picture.mode == "L":
        return picture.point([round(round(grey * 63 / 255) * 255 / 63) for grey in range(256)])
    return picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)


def _mp4(pictures: list[Image.Image], fps: int) -> bytes:
    """H.264 where PyAV has an encoder for it, else MPEG-4."""
    av = _av()
    file = io.BytesIO()
    with av.open(file, mode="w", format="mp4") as film:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream = film.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            film.mux(stream.encode(av.VideoFrame.from_image(picture.convert("RGB"))))
        film.mux(stream.encode())
    return file.getvalue()


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise UserError("MP4 needs PyAV: pip install 'simulacra[video]', or write X.gif") from None
    return av
