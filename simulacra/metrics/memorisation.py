"""Does a model repeat its training rows? Distances to the nearest of them, of generated rows and of held-out ones.

After Meehan, Chaudhuri & Dasgupta 2020, "A Non-Parametric Test to Detect Data-Copying in Generative Models".
"""

from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from simulacra.config import Config
from simulacra.metrics.distances import Nearest, nearest
from simulacra.metrics.measure import Kept, Measure, Score, Seen, Side
from simulacra.play import Table

FAR = 3.0  # standard errors from chance at which a note is made
CLOSEST = 100  # one in so many held-out rows, the nearest to training rows, need not be beaten by a copy


class MemorisationConfig(Config):
    """How many rows are compared with the training rows, and how many are shown."""

    rows: int = Field(
        default=10_000, ge=2, description="generated rows, and held-out rows, that are looked at, at most"
    )
    shown: int = Field(default=16, ge=0, description="generated rows nearest to a training row that are listed")


class Nearer(NamedTuple):
    """How often a row of one sample lies nearer than one of another.

    Attributes:
        probability: P(a < b) + ½ P(a = b), the area under the ROC curve, U/(n·m) of Mann and Whitney.
        error: its standard error, whatever the two laws are (DeLong, DeLong & Clarke-Pearson 1988).
        z: its distance from ½ in standard errors of equal laws, positive where a is the nearer one.
    """

    probability: float
    error: float
    z: float


class Copies(NamedTuple):
    """The share of generated rows that are very close to a training row.

    Attributes:
        share: of generated rows nearer to a training row than all held-out rows but the nearest 1 %.
        chance: what is expected of it where both samples follow one law.
        chance_error: its standard deviation there.
    """

    share: float
    chance: float
    chance_error: float


class Memorisation(Measure):
    """Whether generated rows lie nearer to the training rows than rows that the model never saw.

    `memorised` is the probability that a generated row lies nearer to its nearest training row than a held-out row to
    its own: ½ for a model that generalises, 1 for one that copies, below ½ for one whose samples stray. `copies` is the
    share of generated rows nearer than all held-out rows but the nearest 1 %, about 0.01 by chance.

    All training rows are kept, 4·N·D bytes (490 MB for 60 000 rows of 2048 features), and as much again while they are
    put in order.
    """

    name = "memorisation"
    better: ClassVar = {"memorised": "neither", "copies": "neither"}  # chance is best: facts tell it
    sides: ClassVar = {"real": "train", "fake": "samples", "held_out": "test"}
    Config = MemorisationConfig
    config: MemorisationConfig

    def _reset(self) -> None:
        limits = {"real": None, "fake": self.config.rows, "held_out": self.config.rows}
        self._kept: dict[Side, Kept] = {side: Kept(limits[side]) for side in self.sides}
        self._numbers: dict[Side, Kept] = {side: Kept(limits[side]) for side in self.sides}

    def _update(self, side: Side, seen: Seen) -> None:
        self._kept[side].add(seen.index, seen.features)
        self._numbers[side].add(seen.index, seen.index)

    def _compute(self, table: Table) -> dict[str, Score]:
        train, fake, held_out = (self._kept[side].rows(table) for side in ("real", "fake", "held_out"))
        closest = nearest(fake, train, 1)
        ours, theirs = closest.distances[:, 0], nearest(held_out, train, 1).distances[:, 0]
        near, few = nearer(ours, theirs), copies(ours, theirs)
        rows = {"real": len(train), "fake": len(fake), "held_out": len(held_out)}
        facts = {"rows": rows, "z": near.z, "chance": 0.5, "error": "DeLong", "nearest": self._shown(closest, table)}
        notes = ("the model looks memorised: its samples lie nearer to the training rows than held-out rows do",)
        return {
            "memorised": Score(
                value=near.probability,
                standard_error=near.error,
                facts=facts,
                notes=notes if looks_memorised(near, few) else (),
            ),
            "copies": Score(
                value=few.share,
                standard_error=(few.share * (1 - few.share) / len(fake)) ** 0.5,
                facts={"rows": rows, "chance": few.chance, "chance_error": few.chance_error, "error": "binomial"},
            ),
        }

    def _shown(self, closest: Nearest, table: Table) -> list[list[float]]:
        """The closest pairs, nearest first: the generated row's number, the training row's number, their distance."""
        fake, train = (self._numbers[side].rows(table) for side in ("fake", "real"))
        distances, matches = (values[:, 0].cpu() for values in closest)
        order = distances.sort(stable=True).indices[: self.config.shown]
        triples = zip(fake[order].tolist(), train[matches[order]].tolist(), distances[order].tolist())
        return [list(triple) for triple in triples]


def nearer(a: Tensor, b: Tensor) -> Nearer:
    """How much smaller the numbers `a` `[n]` are than `b` `[m]`, n and m at least 2."""
    a, b = a.double().contiguous(), b.double().contiguous()
    below, above = _share_above(a, b), 1 - _share_above(b, a)
    n, m, p = len(a), len(b), below.mean().item()
    error = (below.var().item() / n + above.var().item() / m) ** 0.5
    return Nearer(p, error, (p - 0.5) / null_error(n, m))


def null_error(n: int, m: int) -> float:
    """The standard deviation of U/(n·m) where both laws are equal and continuous: √((n + m + 1) / (12·n·m))."""
    return ((n + m + 1) / (12 * n * m)) ** 0.5


def _share_above(a: Tensor, b: Tensor) -> Tensor:
    """For each of `a`, the share of `b` that is larger, equal ones counted half."""
    ordered = b.sort().values
    smaller, at_most = (torch.searchsorted(ordered, a, right=right) for right in (False, True))
    return 1 - (smaller + at_most) / (2 * len(b))


def copies(a: Tensor, b: Tensor) -> Copies:
    """The share of distances `a` `[n]` below all of `b` `[m]` but the ⌊m/100⌋ smallest.

    By chance that is the law's share below its (⌊m/100⌋ + 1)-th of m order statistics, a Beta(j, m + 1 − j) variable.
    """
    n, m = len(a), len(b)
    j = m // CLOSEST + 1
    threshold = b.sort().values[j - 1]
    chance = j / (m + 1)
    spread = chance * (1 - chance) / (m + 2)
    return Copies((a < threshold).double().mean().item(), chance, (spread + chance * (1 - chance) / n) ** 0.5)


def looks_memorised(near: Nearer, few: Copies) -> bool:
    """Whether both scores stand above chance by more than `FAR` standard errors."""
    surely = near.z > FAR and near.probability - 0.5 > FAR * near.error
    return surely and few.share - few.chance > FAR * few.chance_error
