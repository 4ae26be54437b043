"""Data sets known by name: handwriting that needs no download, and the usual small benchmarks."""

import csv
import gzip
import os
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simulacra.data.request import Request
from simulacra.data.source import Source
from simulacra.data.tensors import ImageArray, image_source
from simulacra.disk import cache_folder
from simulacra.errors import UserError

DIGITS = tuple("0123456789")
GARMENTS = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
WAY_OUT = "set SIMULACRA_DATA to a folder that holds it, or use 'digits', which needs no download"


def open_digits(request: Request) -> Source:
    """1,797 handwritten digits, 8x8 grey, from scikit-learn; values 0..16 are scaled to 0..255.

    The test split is every sixth image of each class, in the order they come: 1,501 to train on, 296 to test.
    """
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    rows = np.flatnonzero(_every_sixth(labels) == (request.split == "test"))
    images = np.rint(values[rows].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return image_source(request, ImageArray(of="digits", images=images, labels=labels[rows], classes=DIGITS, rows=rows))


def open_mnist(request: Request) -> Source:
    """MNIST (LeCun et al. 1998): 60,000 and 10,000 handwritten digits, 28x28 grey."""
    return _open_idx(request, "MNIST", DIGITS)


def open_fashion_mnist(request: Request) -> Source:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 and 10,000 garments, 28x28 grey."""
    return _open_idx(request, "FashionMNIST", GARMENTS)


def open_binarized_mnist(request: Request) -> Source:
    """MNIST made black and white once and for all (Salakhutdinov & Murray 2008; split of Larochelle & Murray 2011):
    60,000 and 10,000 digits, 28x28, without labels; from `binarized_mnist.npz`, as it cannot be downloaded.

    The file holds `train`, `valid` and `test`, each uint8 [N, 98], bits packed by `numpy.packbits`. The training split
    is `train` with the 10,000 rows of `valid` after it.
    """
    folder = local("binarized_mnist")
    if folder is None:
        raise UserError("'binarized_mnist' is not downloaded: set SIMULACRA_DATA to a folder that holds it")
    names = ("train", "valid") if request.split == "train" else ("test",)
    images = _read_bits(folder / "binarized_mnist.npz", names)
    of = f"binarized_mnist ({request.split})"
    return image_source(request, ImageArray(of=of, images=images.reshape(-1, 28, 28, 1) * np.uint8(255)))


def open_usps(request: Request) -> Source:
    """USPS (Hull 1994): 7,291 and 2,007 handwritten digits, 16x16 grey; from `usps.h5` with h5py, else by torchvision.

    The file holds groups `train` and `test` of `data` [N, 256] in [0, 1] and `target` [N].
    """
    folder = local("usps")
    if folder and (folder / "usps.h5").exists():
        images, labels = _read_hdf5(folder / "usps.h5", request.split)
    else:
        held = _torchvision("USPS", folder, request.split)
        images, labels = held.data, np.array(held.targets, np.int64)
    return _labelled(request, "usps", images[..., None], labels, DIGITS)


def open_cifar10(request: Request) -> Source:
    """CIFAR-10 (Krizhevsky 2009): 50,000 and 10,000 objects, 32x32 RGB; lossless WebP sheets may hold fewer.

    Without such sheets torchvision reads the original files, and it unpickles them, after checking their hashes.
    """
    folder = local("cifar10")
    if folder and (folder / "index.csv.gz").exists():
        images, labels = _read_sheets(folder, request.split)
    else:
        held = _torchvision("CIFAR10", folder, request.split)
        images, labels = held.data, np.array(held.targets, np.int64)
    return _labelled(request, "cifar10", images, labels, OBJECTS)


def _labelled(
    request: Request, name: str, images: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> Source:
    return image_source(
        request, ImageArray(of=f"{name} ({request.split})", images=images, labels=labels, classes=classes)
    )


def _every_sixth(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[5::6]] = True
    return chosen


def local(name: str) -> Path | None:
    """$SIMULACRA_DATA/<name>, where it exists."""
    root = os.environ.get("SIMULACRA_DATA")
    return Path(root, name) if root and Path(root, name).is_dir() else None


def _torchvision(kind: str, folder: Path | None, split: str) -> Any:
    """A data set of torchvision's, from a folder in its layout or downloaded into the cache, hashes checked."""
    from torchvision import datasets

    try:
        return getattr(datasets, kind)(str(folder or cache_folder()), train=split == "train", download=folder is None)
    except (OSError, RuntimeError) as error:
        if folder:
            raise UserError(
                f"no {kind} in {str(folder)!r}, or a file of it is torn: remove the folder to download it"
            ) from error
        why = " ".join(str(error).split())[:120]
        raise UserError(f"cannot download {kind} ({why}): {WAY_OUT}") from error


def _open_idx(request: Request, kind: str, classes: tuple[str, ...]) -> Source:
    name = {"MNIST": "mnist", "FashionMNIST": "fashion_mnist"}[kind]
    folder = local(name)
    if folder is None:
        _torchvision(kind, None, request.split)
        folder = cache_folder()
    stem = "train" if request.split == "train" else "t10k"
    places = (folder, folder / kind / "raw")
    images = _read_idx(_first(places, f"{stem}-images-idx3-ubyte"))
    labels = _read_idx(_first(places, f"{stem}-labels-idx1-ubyte"))
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise UserError(f"{str(folder)!r} holds {images.shape} images and {labels.shape} labels: copy {name} again")
    return _labelled(request, name, images[..., None], labels.astype(np.int64), classes)


def _first(places: tuple[Path, ...], name: str) -> Path:
    for place in places:
        for path in (place / name, place / f"{name}.gz"):
            if path.exists():
                return path
    raise UserError(f"no {name}(.gz) in {str(places[0])!r}: complete the folder, or remove it to download the data")


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """An array in the idx format: two zero bytes, type 8 (uint8), rank, sizes as big-endian 32-bit numbers, values."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise UserError(f"{str(path)!r} is torn: copy or download it again") from error
    rank = data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0
    shape = tuple(np.frombuffer(data[4 : 4 + 4 * rank], ">u4").tolist()) if len(data) >= 4 + 4 * rank else ()
    if not rank or not shape or len(data) != 4 + 4 * rank + int(np.prod(shape)):
        raise UserError(f"{str(path)!r} is no idx file of bytes, or is torn: copy or download it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()


def _read_sheets(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 [N, 32, 32, 3] and labels int64 [N] from sheets of images stacked vertically, and their index."""
    try:
        with gzip.open(folder / "index.csv.gz", "rt", newline="") as file:
            index = [row for row in csv.DictReader(file) if row["split"] == split]
        sheets = {name: _sheet(folder / name) for name in sorted({row["sheet"] for row in index})}
        images = np.stack([sheets[row["sheet"]][int(row["row"])] for row in index])
        return images, np.array([int(row["label"]) for row in index], np.int64)
    except (OSError, EOFError, KeyError, ValueError, IndexError) as error:
        raise UserError(f"{str(folder)!r} is torn ({' '.join(str(error).split())}): copy it again") from error


def _sheet(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as im:
        return np.asarray(im.convert("RGB")).reshape(-1, 32, 32, 3)


def _read_bits(path: Path, names: tuple[str, ...]) -> NDArray[np.uint8]:
    """Zeros and ones [N, 784] of packed arrays, one after the other."""
    try:
        with np.load(path, allow_pickle=False) as file:
            packed = np.concatenate([file[name] for name in names])
        if packed.dtype != np.uint8 or packed.shape[1:] != (98,):
            raise ValueError(f"{packed.dtype} of shape {packed.shape}")
        return np.unpackbits(packed, axis=1)
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"{str(path)!r} is torn ({' '.join(str(error).split())[:120]}): copy it again") from error


def _read_hdf5(path: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 [N, 16, 16] and labels int64 [N]."""
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"{str(path)!r} is read with h5py, which is not installed: pip install h5py") from error
    try:
        with h5py.File(path) as file:
            values, labels = np.asarray(file[f"{split}/data"]), np.asarray(file[f"{split}/target"])
        images = np.rint(values.reshape(len(labels), 16, 16) * 255.0).clip(0, 255).astype(np.uint8)
        return images, labels.astype(np.int64)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{str(path)!r} is torn ({' '.join(str(error).split())[:120]}): copy it again") from error
