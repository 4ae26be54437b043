"""What measures of a model itself are: not of its samples' features, but of its likelihoods or its latent space."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from simulacra import config as settings
from simulacra.metrics.measure import Better, Score, Side
from simulacra.play import Table


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a measure is told beside the model.

    Attributes:
        test: gives this rank's rows among the first n (all for None) of the test split, in batches, as (number of the
            batch's first row, rows `[B, ...]` as the model was trained on: images in [−1, 1], or vectors).
        features: an extractor's features `[B, D]` of images `[B, C, H, W]` in [−1, 1], or of vectors.
        seed: key of all randomness.
        table: the ranks that judge together.
    """

    test: Callable[[int | None], Iterator[tuple[int, Tensor]]]
    features: Callable[[Tensor], Tensor]
    seed: int = 0
    table: Table = field(default_factory=Table)


class ModelMeasure(ABC):
    """A measure of a model's verbs. To be found by the command line it is listed in `metrics.catalogue`.

    Attributes:
        name: its word, also the prefix of its options.
        better: its scores by name, and which way each is better.
        capability: the protocol of `capabilities` that the model must have.
        uses_features: whether it asks an extractor.
        sides: the rows it asks for, as a measure of rows does: of the test split, or none.
        Config: its options.
    """

    name: ClassVar[str]
    better: ClassVar[Mapping[str, Better]]
    capability: ClassVar[type]
    uses_features: ClassVar[bool] = False
    sides: ClassVar[Mapping[Side, str]] = {}
    Config: ClassVar[type[settings.Config]] = settings.Config

    def __init__(self, config: settings.Config | None = None) -> None:
        self.config = config or self.Config()

    @abstractmethod
    def compute(self, model: Any, setting: Setting) -> dict[str, Score]:
        """The scores by name, equal on all ranks of `setting.table`. `model` has the capability."""
