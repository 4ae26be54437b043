"""Classification accuracy score: can real images be told apart by what was learnt from generated ones?"""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.features.training import held_source, train_extractor
from simulacra.metrics.measure import WORDS, Kept, Measure, Score, Seen, Side
from simulacra.play import Table


class ClassificationAccuracyConfig(Config):
    """Options of `cas`."""

    epochs: int = Field(default=5, ge=1, description="passes over the generated rows")
    seed: int = Field(default=0, ge=0, lt=2**62, description="key of the classifier's randomness")
    rows: int = Field(default=50_000, ge=2, description="rows of each side that are used at most")


class ClassificationAccuracy(Measure):
    """The accuracy, on labelled real images, of a classifier trained on generated ones alone (Ravuri & Vinyals 2019,
    "Classification Accuracy Score for Conditional Generative Models").

    The classifier is `features.classifier`'s, trained as `features.training` does: comparable with other scores by it,
    not with the paper's, whose classifier is a ResNet-50. Every rank trains it; the first one's score counts. Rows are
    kept as bytes, 154 MB per side at 50 000 rows of 3 × 32 × 32.
    """

    name = "cas"
    better: ClassVar = {"cas": "higher"}
    sides: ClassVar = {"fake": "samples", "real": "test"}
    wants = ("labels",)
    features = "pixels"
    Config = ClassificationAccuracyConfig
    config: ClassificationAccuracyConfig

    def _reset(self) -> None:
        if self.spec is None or self.spec.kind != "image":
            raise UserError(f"{self.name} needs images: its classifier does not look at vectors")
        self._kept = {side: (Kept(self.config.rows), Kept(self.config.rows)) for side in self.sides}

    def _update(self, side: Side, seen: Seen) -> None:
        assert seen.labels is not None
        pixels, labels = self._kept[side]
        pixels.add(seen.index, (seen.features * 255.0).round().to(torch.uint8))
        labels.add(seen.index, seen.labels)

    def _compute(self, table: Table) -> dict[str, Score]:
        rows = {side: [kept.rows(table) for kept in pair] for side, pair in self._kept.items()}
        spec, device = self._rows_spec([labels for _, labels in rows.values()]), rows["fake"][0].device
        fake, real = (held_source(WORDS[side], pixels, labels, spec) for side, (pixels, labels) in rows.items())
        trained = train_extractor(fake, real, device=device, epochs=self.config.epochs, seed=self.config.seed)
        accuracy = torch.tensor([trained.facts["accuracy"] if table.rank == 0 else 0.0], dtype=torch.float64)
        table.sum([accuracy])
        return {"cas": self._score(accuracy.item(), spec, rows["fake"][1], rows["real"][1])}

    def _rows_spec(self, labels: Sequence[Tensor]) -> Spec:
        """What the rows are; classes are numbers where they have no names."""
        assert self.spec is not None
        if self.spec.classes is not None:
            return self.spec
        most = max(int(each.max()) for each in labels)
        return replace(self.spec, classes=tuple(str(k) for k in range(most + 1)))

    def _score(self, accuracy: float, spec: Spec, fake: Tensor, real: Tensor) -> Score:
        """Of labels `[N]` of both sides; with the standard error of a share of independent rows, √(p (1 − p) / n)."""
        assert spec.classes is not None
        names = [spec.classes[k] for k in sorted(set(real.tolist()) - set(fake.tolist()))]
        note = f"no generated row is of class {', '.join(names[:10])}{' …' * (len(names) > 10)}"
        return Score(
            value=accuracy,
            standard_error=sqrt(accuracy * (1.0 - accuracy) / len(real)),
            facts={**self.config.model_dump(), "rows": {"fake": len(fake), "real": len(real)}},
            notes=(note,) if names else (),
        )
