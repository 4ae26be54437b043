"""Inception Score (Salimans et al. 2016, §4): how sure a classifier is of single samples, how varied of all."""

from math import log
from typing import ClassVar, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor

from simulacra.config import Config
from simulacra.errors import UserError
from simulacra.metrics.measure import Measure, Score, Seen, Side
from simulacra.play import Table

BLOCK = 4096
"""Rows whose probabilities are held in float64 at a time."""


class InceptionScoreConfig(Config):
    """How the Inception Score is averaged."""

    splits: int = Field(default=10, ge=1, description="consecutive shares of the samples, each scored for itself")


class Sums(NamedTuple):
    """Over the rows of each of S splits, in float64: their number `[S]`, their p(y|x) `[S, K]`, their entropies
    H(y|x) in nats `[S]` and the squares of these `[S]`."""

    rows: Tensor
    marginal: Tensor
    entropy: Tensor
    square: Tensor

    @classmethod
    def zero(cls, splits: int, classes: int) -> Self:
        """Of no rows."""
        shapes = ((splits,), (splits, classes), (splits,), (splits,))
        return cls(*(torch.zeros(*shape, dtype=torch.float64) for shape in shapes))

    def add(self, split: Tensor, logits: Tensor) -> None:
        """Take in rows with `logits` `[B, K]`, each in its `split` int64 `[B]`; where p is 0, p log p is."""
        log_p = logits.double().log_softmax(1)
        p = log_p.exp()
        entropy = -(p * log_p).sum(1)
        values = (torch.ones_like(entropy), p, entropy, entropy.square())
        for total, value in zip(self, values):
            total.index_add_(0, split, value)

    def entropies(self) -> tuple[Tensor, Tensor]:
        """H(y) and H(y|x) in nats, each `[S]`."""
        h_y = torch.special.entr(self.marginal / self.rows[:, None]).sum(1)
        return h_y, self.entropy / self.rows

    def whole(self) -> "Sums":
        """The same with all rows in one split."""
        return Sums(*(total.sum(0, keepdim=True) for total in self))


class InceptionScore(Measure):
    """exp E KL(p(y|x) ‖ p(y)) = exp(H(y) − H(y|x)), from 1 to the number of classes (Salimans et al. 2016, §4).

    Scores:
        is: the mean over `splits` shares of the samples by row number, share i the rows i·N // splits and on. Its
            standard error is that of a mean of independent shares, s/√splits with s² over splits − 1; fact `std` is
            what papers print after ±, the deviation with splits in the denominator.
        h_y: entropy of the predicted classes over all samples, in nats: variety.
        h_y_given_x: mean entropy of one sample's prediction, in nats: sharpness. Standard error s/√N.

    h_y − h_y_given_x is the logarithm of fact `of_all_rows`, and of the score where there is one split.
    Memory: the logits, 4·N·K bytes over all ranks (200 MB for 50 000 rows of 1008).
    """

    name = "is"
    better: ClassVar = {"is": "higher", "h_y": "higher", "h_y_given_x": "lower"}
    sides: ClassVar = {"fake": "samples"}
    wants = ("logits",)
    Config = InceptionScoreConfig
    config: InceptionScoreConfig

    def _reset(self) -> None:
        self._seen: list[tuple[Tensor, Tensor]] = []

    def _update(self, side: Side, seen: Seen) -> None:
        assert seen.logits is not None
        self._seen.append((seen.index.cpu(), seen.logits.detach().cpu()))

    def _compute(self, table: Table) -> dict[str, Score]:
        n, splits = self.counts["fake"], self.config.splits
        if n < splits:
            raise UserError(f"is has {n} rows for {splits} splits: give --{self.name}.splits {n} or fewer")
        sums = self._sums([i * n // splits for i in range(splits + 1)], table)
        h_y, h_y_given_x = (h.item() for h in sums.whole().entropies())
        facts = {"maximum": log(sums.marginal.shape[1]), "unit": "nats"}
        return {
            "is": _score(sums),
            "h_y": Score(value=h_y, facts=facts),
            "h_y_given_x": Score(value=h_y_given_x, standard_error=_error(sums.whole()), facts=facts),
        }

    def _sums(self, bounds: list[int], table: Table) -> Sums:
        """The sums over all ranks. Raises ValueError where rows are not numbered from 0 on."""
        own = max((logits.shape[1] for _, logits in self._seen), default=0)
        sums = Sums.zero(len(bounds) - 1, int(table.gather(torch.tensor([own])).max()))
        starts = torch.tensor(bounds[1:-1], dtype=torch.int64)
        for index, logits in self._seen:
            for rows, part in zip(index.split(BLOCK), logits.split(BLOCK)):
                sums.add(torch.bucketize(rows, starts, right=True), part)
        table.sum(list(sums))
        if sums.rows.tolist() != [last - first for first, last in zip(bounds, bounds[1:])]:
            raise ValueError(f"{bounds[-1]} rows are not numbered from 0 to {bounds[-1] - 1}")
        return sums


def _score(sums: Sums) -> Score:
    h_y, h_y_given_x = sums.entropies()
    scores = (h_y - h_y_given_x).exp()
    of_all, (splits, classes) = sums.whole().entropies(), sums.marginal.shape
    facts = {
        "classes": classes,
        "maximum": classes,
        "splits": splits,
        "std": scores.std(correction=0).item(),
        "of_all_rows": (of_all[0] - of_all[1]).exp().item(),
    }
    error = (scores.std() / splits**0.5).item() if splits > 1 else None
    return Score(value=scores.mean().item(), standard_error=error, facts=facts, notes=_notes(sums))


def _notes(sums: Sums) -> tuple[str, ...]:
    """A score cannot exceed the number of rows it is of."""
    rows, classes = int(sums.rows.min()), sums.marginal.shape[1]
    if rows >= classes:
        return ()
    return (f"a split has {rows} rows for {classes} classes, so the score cannot exceed {rows}: take more samples",)


def _error(whole: Sums) -> float | None:
    """The standard error s/√N of the mean entropy of a row's prediction."""
    n, total, square = (value.item() for value in (whole.rows, whole.entropy, whole.square))
    return (max(square - total**2 / n, 0.0) / (n - 1) / n) ** 0.5 if n > 1 else None
