"""Which rows each side of a comparison is made of."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.capabilities import Samples, verbs
from simulacra.data import Source, Spec
from simulacra.data.batch import to_unit
from simulacra.data.words import shareable
from simulacra.errors import UserError
from simulacra.randomness import key_of
from simulacra.subjects import Subject, View

ROLES = ("reference", "samples", "train", "test", "validation")
DRAWN = 10_000  # samples drawn from a model unless another number is asked for
NONE = np.empty(0, np.int64)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of a side: those of `source` at `index` (ascending), with their `number` in the side; or, without a
    source, the samples `number` of the model. `seed` is the key of the samples, or of the order of the numbers."""

    number: NDArray[np.int64]
    source: Source | None = None
    index: NDArray[np.int64] = field(default_factory=lambda: NONE)
    seed: int = 0

    def __len__(self) -> int:
        return len(self.number)

    @property
    def facts(self) -> dict[str, Any]:
        """What the record of a score says of them."""
        if self.source is None:
            return {"drawn": len(self), "seed": self.seed}
        rows = {"rows": len(self), "of": len(self.source), "seed": self.seed}
        where = {"word": shareable(self.source.word), "split": self.source.split}
        return where | rows | {"fingerprint": self.source.fingerprint}


class Sides:
    """The rows of every role in judging `subject`: `reference`, `samples`, and the splits of the reference's data.

    Args:
        subject: what is judged.
        view: the data that it is compared with, or None where there is none.
        split: the rows that are the reference: "train", "test" or "all".
        samples: how many of the subject's rows are judged; by default 10,000 of a model's, all of a data set's.
        real_rows: how many rows of the reference are taken; all by default.
        seed: which samples, and which rows where not all are taken.

    Raises:
        UserError: the data cannot be opened, or their rows differ in shape from the subject's.
    """

    def __init__(
        self,
        subject: Subject,
        view: View | None,
        *,
        split: str = "train",
        samples: int | None = None,
        real_rows: int | None = None,
        seed: int = 0,
    ) -> None:
        self.subject, self.view, self.split, self.seed = subject, view, split, seed
        self._samples, self._real_rows = samples, real_rows
        self._sources: dict[str, Source] = {}

    @property
    def word(self) -> str:
        """The word of the reference's data, "" where there is none."""
        return self.view.word if self.view else ""

    def of(self, role: str) -> Rows:
        """The rows of a role: "reference", "samples", "train", "test" or "validation" (the last sixth of "train").

        Rows are numbered in an order drawn by the seed, so that the first n are a fair choice; but those of the splits
        of a data set that is known by name in their own order, in which protocols count them.

        Raises:
            UserError: there are no such rows.
        """
        if role == "samples":
            return self._judged()
        if role == "reference":
            return _drawn(self.source(self.split), self._real_rows, self.seed, role)
        source = self.source("train" if role == "validation" else role)
        first = len(source) * 5 // 6 if role == "validation" else 0
        if ":" in self.word:
            return _drawn(source, None, self.seed, role, first)
        index = np.arange(first, len(source))
        return Rows(source=source, index=index, number=index - first)

    def source(self, split: str) -> Source:
        """One split of the reference's data."""
        if self.view is None:
            raise UserError(f"there is nothing to compare {self.subject.title} with: name the real data with --real")
        if split not in self._sources:
            source = self.view.open(split)
            _check_alike(self.subject, source)
            self._sources[split] = source
        return self._sources[split]

    def _judged(self) -> Rows:
        subject = self.subject
        if subject.source is not None:
            return _drawn(subject.source, self._samples, self.seed, "samples")
        if not isinstance(subject.model, Samples):
            can = ", ".join(verbs(subject.model))
            raise UserError(f"{subject.title} cannot sample (it can {can}): choose measures of what it can")
        return Rows(number=np.arange(self._samples or DRAWN), seed=self.seed)

    def shown(self, rows: Rows, numbers: list[int]) -> Tensor:
        """Rows by their number in a side: images in [−1, 1] or vectors."""
        if rows.source is None:
            assert isinstance(self.subject.model, Samples)
            return torch.cat([self.subject.model.sample(1, seed=rows.seed, start=n).cpu() for n in numbers])
        place = np.empty(len(rows), np.int64)
        place[rows.number] = rows.index
        return to_unit(rows.source.rows(place[numbers]), torch.contiguous_format)


def _drawn(source: Source, count: int | None, seed: int, role: str, first: int = 0) -> Rows:
    """`count` rows of a source from `first` on (all for None), numbered in an order drawn by the seed and the role:
    two sides of one data set are not the same rows."""
    size = len(source) - first
    number = np.random.default_rng(key_of(seed, ROLES.index(role), size)).permutation(size)
    chosen = np.arange(size) if count is None else np.flatnonzero(number < count)
    return Rows(source=source, index=chosen + first, number=number[chosen], seed=seed)


def _check_alike(subject: Subject, source: Source) -> None:
    if subject.spec.shape != source.spec.shape:
        raise UserError(
            f"{subject.title} has {_shape(subject.spec)} and {source.word!r} {_shape(source.spec)}: "
            f"bring both to one size and number of channels with --size and --channels"
        )


def _shape(spec: Spec) -> str:
    if spec.kind == "vector":
        return f"vectors of {spec.numel} numbers"
    return f"images of {spec.height}x{spec.width} pixels in {spec.channels} channel{'s' * (spec.channels > 1)}"
