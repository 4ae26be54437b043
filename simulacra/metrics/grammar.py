"""How many generated strings are sentences of the world's grammar, and how evenly they cover its language."""

from collections import Counter
from collections.abc import Sequence
from math import log
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simulacra.data.worlds.grammar import ALPHABET, count, grammatical, spell
from simulacra.errors import UserError
from simulacra.metrics.measure import Kept, Measure, Score, Seen, Side
from simulacra.metrics.neighbours import share
from simulacra.play import Table

MOST = 1_000_000  # of sentences, up to which the divergence is computed


class Grammar(Measure):
    """The share of generated strings that are sentences of the grammar of `data.worlds.grammar`, and their diversity.

    A row `[T·8]` is read as the T characters whose numbers are largest; blanks at its end do not count. `grammatical`
    is the share of sentences, with its binomial standard error. `sentences` is how many different ones there are; a
    fact tells how many as many draws of the uniform law have on average, K (1 − (1 − 1/K)^N). `sentence_kl` is
    KL(p ‖ u) = ln K − H(p) in nats, of the shares p of the grammatical rows over the K sentences of at most T
    characters and the uniform law u; a fact tells its mean under u itself. It is left out where no row is a sentence,
    or there are over a million.

    T bytes are kept per row.
    """

    name = "grammar"
    better: ClassVar = {"grammatical": "higher", "sentences": "higher", "sentence_kl": "lower"}
    sides: ClassVar = {"fake": "samples"}
    at_least = 1
    features = "pixels"

    def _reset(self) -> None:
        self._kept = Kept()

    def _update(self, side: Side, seen: Seen) -> None:
        self._kept.add(seen.index, characters(seen.features).byte())

    def _compute(self, table: Table) -> dict[str, Score]:
        rows = self._kept.rows(table).cpu()
        found = Counter(map(tuple, rows.tolist()))
        right = {row: n for row, n in found.items() if grammatical(spell(row))}
        of, n, counted = count(rows.shape[1]), len(rows), sum(right.values())
        facts: dict[str, Any] = {"of": of, "rows": {"fake": n}}
        scores = {
            "grammatical": share(torch.tensor([row in right for row in map(tuple, rows.tolist())]), **facts),
            "sentences": Score(
                value=float(len(right)), facts={**facts, "counted_rows": counted, "expected": distinct(counted, of)}
            ),
        }
        if counted and of <= MOST:
            more = {"counted_rows": counted, "chance": chance(counted, of)}
            scores["sentence_kl"] = Score(value=from_uniform([*right.values()], of), facts={**facts, **more})
        return scores


def characters(features: Tensor) -> Tensor:
    """The characters int64 `[B, T]` of rows `[B, T·8]`, by their numbers in the alphabet.

    Raises:
        UserError: the rows are no strings over it.
    """
    if features.shape[1] % len(ALPHABET):
        raise UserError(
            f"grammar is of strings one-hot over {len(ALPHABET)} characters, and rows are {features.shape[1]} numbers "
            "wide: judge strings, as of --data grammar"
        )
    return features.unflatten(1, (-1, len(ALPHABET))).argmax(2)


def distinct(n: int, of: int) -> float:
    """How many of `of` equally likely values n draws show on average."""
    return of * (1.0 - (1.0 - 1.0 / of) ** n)


def from_uniform(counts: Sequence[int], of: int) -> float:
    """KL(p ‖ u) = ln K − H(p) in nats, of the shares p of those of K = `of` values that are counted at all."""
    p = np.array(counts) / sum(counts)
    return max(log(of) + float((p * np.log(p)).sum()), 0.0)


def chance(n: int, of: int) -> float:
    """The mean of `from_uniform` over n draws of the uniform law: ln K + K E[(c/n) ln(c/n)], c binomial (n, 1/K)."""
    from scipy.stats import binom

    c = np.arange(1, n + 1)
    return log(of) + of * float((binom.pmf(c, n, 1.0 / of) * (c / n) * np.log(c / n)).sum())
