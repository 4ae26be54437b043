"""Three digits in one image: what the classifier of MNIST says of each channel."""

import hashlib
from typing import Any

from torch import Tensor

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.features.classifier import ClassifierExtractor
from simulacra.features.extractor import Extractor, Said

CHANNELS = 3


class StackedExtractor(Extractor):
    """The features of the three channels side by side, `[B, 3 D]`, and their logits, `[B, 3 K]`: three
    classifications into K classes, red first. Its digest is a hash of the classifier's.

    Raises:
        UserError: images without three channels.
    """

    groups = CHANNELS

    def __init__(self, name: str, channel: ClassifierExtractor, spec: Spec) -> None:
        if spec.channels != CHANNELS:
            raise UserError(f"the extractor '{name}' looks at images of 3 channels, and these have {spec.channels}")
        self.name, self._channel = name, channel
        self.digest = hashlib.sha256(f"{CHANNELS} channels, each by {channel.digest}".encode()).hexdigest()
        self.resizer, self.classes = channel.resizer, channel.classes

    def __call__(self, rows: Tensor) -> Said:
        """Of images uint8 `[B, 3, H, W]`."""
        features, logits = self._channel(rows.reshape(-1, 1, *rows.shape[2:]))
        assert logits is not None
        return Said(features.reshape(len(rows), -1), logits.reshape(len(rows), -1))

    def doubts(self, spec: Spec) -> list[str]:
        """Warnings where the channels are no digits of MNIST's size."""
        classes = None if spec.classes is None or len(spec.classes) == 1000 else spec.classes
        return self._channel.doubts(Spec(kind="image", shape=(1, *spec.shape[1:]), classes=classes))

    @property
    def facts(self) -> dict[str, Any]:
        """What a score's record says of it, the classifier's own hash included."""
        return {**super().facts, "classifier_sha256": self._channel.digest}
