"""Improved precision and recall, density and coverage: whose rows lie in whose nearest-neighbour balls.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models" (equations 1 and 2);
Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models" (equations 5 and 6).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from simulacra.config import Config
from simulacra.errors import UserError
from simulacra.metrics.distances import Tile, nearest, tiles
from simulacra.metrics.measure import WORDS, KeepsBoth, Score, Side, mean_score
from simulacra.play import Table


class NeighboursConfig(Config):
    """How large the balls are, and of how many rows."""

    k: int = Field(
        default=3, ge=1, description="precision and recall: a ball reaches to its row's k-th nearest neighbour"
    )
    density_k: int = Field(default=5, ge=1, description="density and coverage: the same of theirs")
    rows: int = Field(default=50_000, ge=2, description="rows of each side that are compared, at most")


class Found(NamedTuple):
    """Of n real and n generated rows, each `[n]`, which lie in a ball of the other side.

    Attributes:
        precise: bool, of generated rows: in some real row's ball to its k-th neighbour.
        inside: int64, of generated rows: in how many real balls to the density_k-th neighbour.
        recalled: bool, of real rows: in some generated row's ball to its k-th neighbour.
        covered: bool, of real rows: some generated row in its own ball to the density_k-th neighbour.
    """

    precise: Tensor
    inside: Tensor
    recalled: Tensor
    covered: Tensor


class Neighbours(KeepsBoth):
    """Precision and recall of k-nearest-neighbour balls, density and coverage.

    The radius belongs to the row at the centre of the ball, of the sample that is the reference, never to the row that
    is asked about: with the radius at the query the first formula would be 1 for any samples.

    n rows of either side are compared, the fewest of what both have and `rows`. They are kept: 8·n·D bytes, 820 MB
    for n = 50 000 and D = 2048, and as much again while they are put in order; tiles add 60 MB.
    """

    name = "neighbours"
    better: ClassVar = {
        "precision": "higher",
        "recall": "higher",
        "density": "higher",
        "coverage": "higher",
    }
    at_least = 1  # how many it needs depends on the options, and the error names them
    Config = NeighboursConfig
    config: NeighboursConfig

    def _compute(self, table: Table) -> dict[str, Score]:
        n = min(*self.counts.values(), self.config.rows)
        real, fake = (rows[:n] for rows in self._rows(table))
        return self._scores(in_balls(real, fake, self.config.k, self.config.density_k))

    def require(self, counts: Mapping[Side, int]) -> None:
        """A ball to the k-th neighbour needs k + 1 rows. Raises UserError for fewer."""
        super().require(counts)
        n, side = min(*counts.values(), self.config.rows), min(counts, key=lambda side: counts[side])
        has = f"neighbours.rows is {n}" if n == self.config.rows else f"{WORDS[side]} has {n}"
        for score, option, k in (("precision", "k", self.config.k), ("density", "density_k", self.config.density_k)):
            if n < k + 1:
                raise UserError(f"{score} needs at least {option} + 1 = {k + 1} rows on both sides: {has}")

    def _scores(self, found: Found) -> dict[str, Score]:
        n, k, density_k = len(found.precise), self.config.k, self.config.density_k
        rows = {"real": n, "fake": n}
        return {
            "precision": share(found.precise, k=k, rows=rows),
            "recall": share(found.recalled, k=k, rows=rows),
            "density": mean_score(found.inside / density_k, k=density_k, rows=rows, error="of the mean"),
            "coverage": share(
                found.covered, k=density_k, rows=rows, of_equal_laws=coverage_of_equal_laws(n, density_k)
            ),
        }


def share(hits: Tensor, **facts: Any) -> Score:
    """The share of rows `[n]` (bool) that are hits, with its binomial standard error √(p(1 − p)/n)."""
    n, p = len(hits), hits.double().mean().item()
    return Score(value=p, standard_error=(p * (1 - p) / n) ** 0.5, facts={**facts, "error": "binomial"})


def coverage_of_equal_laws(n: int, k: int) -> float:
    """The expected coverage where n real and n generated rows follow one law (Naeem et al. 2020, lemma 2).

    A ball stays empty if the k nearest of the 2n − 1 other rows to a real row are all real: ∏ (n − i) / (2n − i).
    """
    i = torch.arange(1, k + 1, dtype=torch.float64)
    return 1 - ((n - i) / (2 * n - i)).prod().item()


def in_balls(real: Tensor, fake: Tensor, k: int, density_k: int) -> Found:
    """Which of `real` and `fake`, both `[n, D]`, lie in balls of the other side. A row at the edge, d = r, is inside.

    One full product of the sides and half of one for each side's radii: 4·n²·D operations. Raises ValueError for fewer
    than max(k, density_k) + 1 rows.
    """
    around_real = nearest(real, real, max(k, density_k), skip_self=True).distances
    around_fake = nearest(fake, fake, k, skip_self=True).distances[:, k - 1]
    found = _nothing(real)
    for tile in tiles(fake, real):
        balls = around_real[tile.columns]
        _count(found, tile, balls[:, k - 1], balls[:, density_k - 1], around_fake[tile.rows])
    return found


def _nothing(rows: Tensor) -> Found:
    inside = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    precise, recalled, covered = (torch.zeros_like(inside, dtype=torch.bool) for _ in range(3))
    return Found(precise, inside, recalled, covered)


def _count(found: Found, tile: Tile, precision: Tensor, density: Tensor, recall: Tensor) -> None:
    """Add a tile of generated rows and real columns, given the radii `[B]`, `[B]` of the real, `[A]` of the generated
    rows' balls."""
    fakes, reals = tile.rows, tile.columns
    dense = _bytes(tile, density[None])
    precise = dense if torch.equal(precision, density) else _bytes(tile, precision[None])
    found.precise[fakes] |= precise.amax(1).bool()  # Kynkäänniemi et al. eq. 1 and 2: precision
    found.recalled[reals] |= _bytes(tile, recall[:, None]).amax(0).bool()  # and recall
    found.inside[fakes] += dense.sum(1, dtype=torch.int32)  # Naeem et al. eq. 5: density
    found.covered[reals] |= dense.amax(0).bool()  # Naeem et al. eq. 6: coverage


def _bytes(tile: Tile, radii: Tensor) -> Tensor:
    """Which pairs are within radii, as bytes 0 and 1, which are counted far faster than bools."""
    return tile.within(radii).view(torch.uint8)
