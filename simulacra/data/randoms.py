"""Random bits as functions of a key: the same on every machine and with every numpy, whatever was drawn before."""

import hashlib

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


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
    return (
        _mix(_mix(key + epochs.astype(np.uint64) * GOLDEN) + rows.astype(np.uint64) * GOLDEN) >> np.uint64(63)
    ).astype(bool)


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every input bit moves every output bit."""
    words = words + GOLDEN
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
