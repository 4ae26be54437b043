"""Class accuracy: do samples show the class that they were asked for?"""

from typing import ClassVar

from simulacra.metrics.measure import Kept, Measure, Score, Seen, Side, mean_score
from simulacra.play import Table


class ClassAccuracy(Measure):
    """The share of generated rows of class y whose likeliest class, by the extractor's classifier, is y (Odena, Olah &
    Shlens 2017, §4.1). The classifier's own mistakes count against the samples. 4 bytes are kept per row."""

    name = "class_accuracy"
    better: ClassVar = {"class_accuracy": "higher"}
    sides: ClassVar = {"fake": "samples"}
    wants = ("labels", "logits")
    at_least = 1

    def _reset(self) -> None:
        self._kept = Kept()

    def _update(self, side: Side, seen: Seen) -> None:
        assert seen.logits is not None
        assert seen.labels is not None
        right = seen.logits.argmax(1) == seen.labels.to(seen.logits.device)
        self._kept.add(seen.index, right.float()[:, None])

    def _compute(self, table: Table) -> dict[str, Score]:
        return {"class_accuracy": mean_score(self._kept.rows(table)[:, 0])}
