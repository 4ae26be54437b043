"""What a discriminator is shown of rows, real or generated: augmented, noisy, in packs."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from simulacra.augment import adaptive, differentiable
from simulacra.data.spec import Spec
from simulacra.game import At


@dataclass(frozen=True, kw_only=True)
class Sight:
    """How rows become what the discriminator sees.

    `augment`: names of differentiable augmentations (Zhao et al. 2020); `adapt`: the target of adaptive augmentation
    (Karras et al. 2020), 0 for none, whose probability is the game's state `augment`; `noise`: standard deviation of
    instance noise at the start, which falls linearly to nothing (Sønderby et al. 2017, §3.2.1; Arjovsky & Bottou 2017,
    §3); `pack`: rows that are judged together (Lin et al. 2018, PacGAN).
    """

    augment: Sequence[str] = ()
    adapt: float = 0.0
    noise: float = 0.0
    pack: int = 1

    def __call__(self, x: Tensor, at: At) -> Tensor:
        """What is shown of rows `[N, ...]`: `[N / pack, ...]`, differentiable in `x`."""
        if self.augment:
            x = differentiable.augment(x, at.uniform(differentiable.numbers(self.augment)), self.augment)
        if self.adapt:
            x = adaptive.adaptive(x, at.uniform(adaptive.NUMBERS), at.state("augment"))
        if self.noise:
            x = x + self.noise * (1.0 - at.progress) * at.normal(*x.shape[1:])
        return packed(x, self.pack)

    def spec(self, spec: Spec) -> Spec:
        """What the discriminator's input is like, of data like `spec`."""
        return (
            spec
            if self.pack == 1
            else Spec(kind=spec.kind, shape=(self.pack * spec.shape[0], *spec.shape[1:]), classes=None)
        )


PLAIN = Sight()
"""Rows as they are."""


def packed(x: Tensor, pack: int) -> Tensor:
    """Rows `[N, C, ...]` as packs of `pack` neighbours, `[N / pack, pack·C, ...]`: images by their channels, vectors by
    their entries. Raises ValueError where the rows do not fill packs."""
    if len(x) % pack:
        raise ValueError(f"{len(x)} rows do not fill packs of {pack}")
    return x if pack == 1 else x.reshape(len(x) // pack, pack * x.shape[1], *x.shape[2:])
