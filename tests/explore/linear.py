"""A model whose decoder is a matrix, for closed forms."""

import torch
from torch import Tensor

from simulacra import randomness
from simulacra.data.spec import Spec


class Linear:
    """decode(z) = z Aᵀ + b, of latents from N(0, I) or, with `uniform`, from [−1, 1]^J."""

    def __init__(self, matrix: Tensor, shift: float = 0.0, *, uniform: bool = False) -> None:
        self.matrix, self.shift, self.uniform = matrix, shift, uniform
        self.spec = Spec(kind="vector", shape=(len(matrix),), classes=None)

    def prior(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        width = self.matrix.shape[1]
        if self.uniform:
            return 2.0 * randomness.sample_uniform(n, width, seed=seed, start=start) - 1.0
        return randomness.sample_normal(n, width, seed=seed, start=start)

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.matrix.T + self.shift


class LinearWithCodes(Linear):
    """One that encodes too, by the pseudo-inverse: the code of decode(z) is z where A has full column rank."""

    def encode(self, x: Tensor) -> Tensor:
        return (x - self.shift) @ torch.linalg.pinv(self.matrix).T


def matrix(rows: int, columns: int, key: int = 0) -> Tensor:
    """A seeded matrix of normal numbers."""
    return torch.randn(rows, columns, generator=randomness.generator(torch.device("cpu"), key))
