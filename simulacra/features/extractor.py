"""What every extractor is."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor

from simulacra.data.spec import Spec


class Said(NamedTuple):
    """What an extractor says of rows: features float32 `[B, D]`, and logits float32 `[B, K]` of its classes or None."""

    features: Tensor
    logits: Tensor | None


class Extractor(ABC):
    """Turns rows of data into features.

    Attributes:
        name: the word it was asked for with.
        digest: hex sha256 of its weights (of its definition where it has none).
        resizer: the name of the resizing it does to rows of the given size, "none" where it does none.
        classes: names of the classes its logits are of, or None without logits.
        whole_bytes: whether it takes uint8 alone, and so cannot tell images apart that differ by less.
        groups: how many classifications its logits hold side by side (K = groups × classes).
    """

    name: str
    digest: str
    resizer: str = "none"
    classes: tuple[str, ...] | None = None
    whole_bytes: bool = False
    groups: int = 1

    @abstractmethod
    def __call__(self, rows: Tensor) -> Said:
        """Features of images `[B, C, H, W]`, uint8 or float32 in 0 … 255, or of vectors float32 `[B, D]`, on the
        extractor's device. Only floats tell images apart that differ by less than a byte.

        What it says of a row does not depend on the rows beside it (but for the last bits of float32)."""

    @abstractmethod
    def doubts(self, spec: Spec) -> list[str]:
        """Warnings, one sentence each, where data of `spec` differ in kind from what it was trained on."""

    @property
    def facts(self) -> dict[str, Any]:
        """What a score's record says of it."""
        return {"extractor": self.name, "sha256": self.digest, "resizer": self.resizer}
