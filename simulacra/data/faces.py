"""Small sets of faces, from MATLAB files that cannot be downloaded here: pictures of people, for study alone."""

import zlib

import numpy as np
from numpy.typing import NDArray

from simulacra.data.known import local
from simulacra.data.request import Request
from simulacra.data.source import Source
from simulacra.data.tensors import ImageArray, image_source
from simulacra.errors import UserError

HELD_OUT = 200  # of Frey's frames, the last ones


def open_frey_faces(request: Request) -> Source:
    """Frey faces: 1,965 frames of one face in the order of the video, 28x20 grey; from `frey_rawface.mat`, whose `ff`
    is uint8 [560, 1965]. The last 200 frames are the test split: neighbours in time look alike."""
    images = _read("frey_faces", "frey_rawface.mat", "ff", 560).T.reshape(-1, 28, 20, 1)
    first = len(images) - HELD_OUT
    rows = np.arange(first, len(images)) if request.split == "test" else np.arange(first)
    return image_source(request, ImageArray(of="frey_faces", images=images[rows], rows=rows))


def open_olivetti_faces(request: Request) -> Source:
    """Olivetti faces (AT&T Laboratories Cambridge): 40 people, 10 pictures each, 64x64 grey; from `olivettifaces.mat`,
    whose `faces` is uint8 [4096, 400]. The last two pictures of each person are the test split."""
    images = _read("olivetti_faces", "olivettifaces.mat", "faces", 4096).T.reshape(-1, 64, 64, 1).swapaxes(1, 2)
    number = np.arange(len(images))
    rows = np.flatnonzero((number % 10 >= 8) == (request.split == "test"))
    people = tuple(f"person {k + 1}" for k in range(-(-len(images) // 10)))
    held = np.ascontiguousarray(images[rows])
    return image_source(
        request, ImageArray(of="olivetti_faces", images=held, labels=rows // 10, classes=people, rows=rows)
    )


def _read(name: str, file: str, variable: str, pixels: int) -> NDArray[np.uint8]:
    """`variable` uint8 [pixels, N] of $SIMULACRA_DATA/name/file."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    folder = local(name)
    if folder is None or not (path := folder / file).is_file():
        raise UserError(f"{name!r} is not downloaded: set SIMULACRA_DATA to a folder that holds {name}/{file}")
    try:
        found = loadmat(path, variable_names=[variable])[variable]
        if found.dtype != np.uint8 or found.ndim != 2 or len(found) != pixels or found.shape[1] <= HELD_OUT:
            raise ValueError(f"{found.dtype} of shape {found.shape}")
        return found
    except (OSError, KeyError, ValueError, TypeError, NotImplementedError, MatReadError, zlib.error) as error:
        raise UserError(f"{str(path)!r} is torn ({' '.join(str(error).split())[:120]}): copy it again") from error
