"""Random bits as functions of a key: the same on every machine and with every numpy, whatever was drawn before."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from simulacra.randomness import GOLDEN, mix


def bits(key: str, count: int) -> NDArray[np.uint64]:
    """`count` words of 64 random bits, a function of the key: raw Philox output, which numpy promises not to change."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "little")
    return np.random.Philox(key=number).random_raw(count)


def order(seed: int, stage: int, epoch: int, n: int) -> NDArray[np.int64]:
    """The permutation of range(n) that one epoch of a stage runs through."""
    return np.argsort(bits(f"order/{seed}/{stage}/{epoch}", n), kind="stable")


def flips(seed: int, epochs: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each row is mirrored in its epoch: a fair coin, a function of (seed, epoch, row) alone."""
    key = bits(f"mirror/{seed}", 1)[0]
    words = mix(mix(key + GOLDEN * (epochs.astype(np.uint64) + np.uint64(1))) + GOLDEN * rows.astype(np.uint64))
    return (words >> np.uint64(63)).astype(bool)
