"""Pictures of samples: bytes, grids, scatter plots, and the files they are written to."""

import csv
import io
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simulacra.data.spec import Spec
from simulacra.disk import replace
from simulacra.errors import MachineError, UserError

WIDEST = 900  # pixels to which small images are enlarged at most
GAP = 2  # pixels at least between the images of a grid and around it; one pixel of an enlarged image
MODES = {1: "L", 3: "RGB"}


def to_uint8(images: Tensor) -> Tensor:
    """Images `[N, C, H, W]` in [−1, 1] as uint8: the nearest of the 256 values that −1 … 1 stand for.

    What lies outside is clamped, NaN becomes black. Bytes that became floats by x / 127.5 − 1 come back exactly.
    """
    scaled = torch.nan_to_num((images.detach().float() + 1.0) * 127.5, nan=0.0)
    return scaled.round().clamp(0.0, 255.0).to(torch.uint8)


def grid(images: Tensor, columns: int | None = None) -> Image.Image:
    """All images, uint8 `[N, C, H, W]` with C = 1 or 3, row by row in one picture that is about square.

    Small ones are enlarged by a whole factor, so long as the picture stays within 900 × 900 pixels.

    Raises:
        UserError: there is no image, or its channels are neither grey nor RGB.
    """
    count, channels, height, width = images.shape
    if not count:
        raise UserError("there are no images to show")
    _check_channels(channels)
    columns = min(count, columns or math.ceil(math.sqrt(count * height / width)))
    rows = -(-count // columns)
    factor = max(1, min(_factor(columns, width), _factor(rows, height)))
    pixels = images.cpu().numpy().transpose(0, 2, 3, 1).repeat(factor, 1).repeat(factor, 2)
    return _picture(_laid_out(pixels, rows, columns, max(GAP, factor)))


def _factor(count: int, length: int) -> int:
    """By how much `count` images of `length` pixels, a pixel apart, can be enlarged."""
    return WIDEST // (count * (length + 1) + 1)


def _laid_out(pixels: np.ndarray, rows: int, columns: int, gap: int) -> np.ndarray:
    """Tiles `[N, H, W, C]` on a white sheet, `gap` apart."""
    count, height, width, channels = pixels.shape
    high, wide = height + gap, width + gap
    sheet = np.full((rows * high + gap, columns * wide + gap, channels), 255, np.uint8)
    for k in range(count):
        top, left = gap + k // columns * high, gap + k % columns * wide
        sheet[top : top + height, left : left + width] = pixels[k]
    return sheet


def _picture(pixels: np.ndarray) -> Image.Image:
    """`[H, W, C]` bytes as an image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def scatter(points: Tensor, labels: Tensor | None = None) -> bytes:
    """A PNG file of points `[N, 2]` on equal axes, coloured by `labels` `[N]` where given."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    x, y = points.detach().float().cpu().numpy().T
    colours = None if labels is None else labels.cpu().numpy()
    axes.scatter(x, y, c=colours, s=6, alpha=0.6, linewidths=0, cmap=None if labels is None else "tab10")
    axes.set_aspect("equal", adjustable="datalim")
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def drawable(spec: Spec) -> bool:
    """Whether `png` has a picture of such data: grey or RGB images, or points in the plane."""
    return spec.channels in MODES if spec.kind == "image" else spec.shape == (2,)


def png(samples: Tensor, spec: Spec, labels: Tensor | None = None) -> bytes:
    """A PNG file of samples: a grid of images `[N, C, H, W]` in [−1, 1], a scatter plot of vectors `[N, 2]`.

    Raises:
        UserError: vectors of another size, or images that are neither grey nor RGB.
    """
    if spec.kind == "image":
        return _encoded(grid(to_uint8(samples)))
    if spec.shape != (2,):
        raise UserError(f"vectors of {spec.numel} numbers cannot be drawn as points: write an .npz file instead")
    return scatter(samples, labels)


def _encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def write(samples: Tensor, path: str | Path, spec: Spec, labels: Tensor | None = None) -> None:
    """Write images `[N, C, H, W]` in [−1, 1] or vectors `[N, D]` in the way that `path` asks for.

    - `X.png`: one grid of all images, or a scatter plot of vectors `[N, 2]`.
    - `X/`, `X` without a suffix, or a folder that is there: images one by one, `00000.png` …, and with labels
      `labels.csv` (columns file, label); the data word `folder:X` reads them. Other files in the folder stay.
    - `X.npz`: `images` uint8 `[N, H, W, C]` or `points` float32 `[N, D]`, and with labels `labels` int64 `[N]` and
      `class_names`; the data word `npz:X.npz` reads them.

    A file appears under its name only once it is whole. Folders on the way are made.

    Args:
        samples: images or vectors, as `spec` says.
        path: where to.
        spec: what the samples are.
        labels: whole numbers `[N]`, or None.

    Raises:
        UserError: a suffix that is none of these, or samples that cannot be written so.
        MachineError: the disk is full or cannot be written to.
    """
    place = Path(path).expanduser()
    writer = _writer(place, str(path).endswith(("/", os.sep)))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        writer(samples, place, spec, labels)
    except OSError as error:
        raise MachineError(f"cannot write {place}: {error.strerror or error}") from error


def write_lines(lines: Iterable[str], path: str | Path) -> None:
    """Write one text a line, UTF-8. Raises MachineError as `write` does."""
    place = Path(path).expanduser()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        replace(place, "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise MachineError(f"cannot write {place}: {error.strerror or error}") from error


def write_grid(samples: Tensor, path: str | Path, columns: int) -> None:
    """Write images `[N, C, H, W]` in [−1, 1] as one PNG grid with so many `columns`. Raises as `write` does."""
    place = Path(path).expanduser()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        replace(place, _encoded(grid(to_uint8(samples), columns)))
    except OSError as error:
        raise MachineError(f"cannot write {place}: {error.strerror or error}") from error


Writer = Callable[[Tensor, Path, Spec, Tensor | None], None]


def _writer(place: Path, folder: bool) -> Writer:
    suffix = place.suffix.lower()
    if folder or not suffix or place.is_dir():
        if place.is_file():
            raise UserError(f"{place} is a file, not a folder of images: choose another name, or .png or .npz")
        return _write_folder
    if suffix not in (".png", ".npz"):
        raise UserError(f"cannot write '{suffix}': write X.png (a picture), X/ (a folder of images) or X.npz (arrays)")
    return _write_png if suffix == ".png" else _write_npz


def _write_png(samples: Tensor, place: Path, spec: Spec, labels: Tensor | None) -> None:
    replace(place, png(samples, spec, labels))


def _write_folder(samples: Tensor, place: Path, spec: Spec, labels: Tensor | None) -> None:
    if spec.kind != "image":
        raise UserError("vectors are no images that a folder could hold: write an .npz file instead")
    _check_channels(spec.channels)
    place.mkdir(exist_ok=True)
    for k, pixels in enumerate(to_uint8(samples).cpu().numpy().transpose(0, 2, 3, 1)):
        replace(place / f"{k:05d}.png", _encoded(_picture(pixels)))
    if labels is not None:
        replace(place / "labels.csv", _table(labels, spec))


def _table(labels: Tensor, spec: Spec) -> bytes:
    file = io.StringIO(newline="")
    table = csv.writer(file)
    table.writerow(["file", "label"])
    for k, label in enumerate(labels.tolist()):
        table.writerow([f"{k:05d}.png", spec.classes[label] if spec.classes else label])
    return file.getvalue().encode(errors="replace")


def _write_npz(samples: Tensor, place: Path, spec: Spec, labels: Tensor | None) -> None:
    arrays: dict[str, np.ndarray]
    if spec.kind == "image":
        arrays = {"images": to_uint8(samples).cpu().numpy().transpose(0, 2, 3, 1)}
    else:
        arrays = {"points": samples.detach().cpu().numpy().astype(np.float32)}
    if labels is not None:
        arrays["labels"] = labels.cpu().numpy().astype(np.int64)
        if spec.classes:
            arrays["class_names"] = np.array(spec.classes)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    replace(place, file.getvalue())


def _check_channels(channels: int) -> None:
    if channels not in MODES:
        raise UserError(f"images of {channels} channels are neither grey nor RGB: write an .npz file instead")
