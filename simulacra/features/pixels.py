"""The rows themselves as features."""

import hashlib

import torch
from torch import Tensor

from simulacra.data.spec import Spec
from simulacra.features.extractor import Extractor, Said

DEFINITION = "pixels 1: uint8 / 255 in float32, channels first, flattened; vectors as they are"


class Pixels(Extractor):
    """Images as vectors in [0, 1], channel by channel and row by row; vectors as they are."""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.name, self.digest = "pixels", hashlib.sha256(DEFINITION.encode()).hexdigest()
        self._device = torch.device(device)

    def __call__(self, rows: Tensor) -> Said:
        """Of images `[B, C, H, W]`, uint8 or float32 in 0 … 255, or vectors float32 `[B, D]`."""
        features = rows.to(self._device).flatten(1).float()
        return Said(features / 255 if rows.ndim == 4 else features, None)

    def doubts(self, spec: Spec) -> list[str]:
        """None: nothing was trained."""
        return []
