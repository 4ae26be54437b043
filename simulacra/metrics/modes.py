"""Mode coverage: how many of a law's known modes are generated, how evenly, and how close to them.

Counted as by Srivastava et al. 2017 (VEEGAN, section 4) and Lin et al. 2018 (PacGAN, section 4.1).
"""

import math
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from simulacra.config import Config
from simulacra.data.worlds.points import GRID, RING, Mixture
from simulacra.errors import UserError
from simulacra.metrics.measure import Kept, Measure, Score, Seen, Side
from simulacra.metrics.neighbours import share
from simulacra.play import Table

WORLDS = {"ring": RING, "grid": GRID}
WIDTHS = 3.0  # standard deviations from a mode within which a point is of high quality
MOST = 1_000_000  # modes that are counted


class ModesConfig(Config):
    """What the modes are."""

    world: Literal["ring", "grid"] | None = Field(
        default=None, description="points: the mixture whose modes are counted"
    )
    groups: int = Field(
        default=1, ge=1, description="images: classifications side by side; a mode is one class of each"
    )


class Hits(NamedTuple):
    """Where rows fall, int64 `[B]` each: the number of the mode, whether it is hit (0 or 1), and of how many modes."""

    mode: Tensor
    good: Tensor
    of: Tensor


class ModeCoverage(Measure):
    """The modes that generated rows hit, and how evenly.

    Points, where `world` is given (the features are the points themselves): a row is of high quality if its Euclidean
    distance to the nearest centre is at most 3σ, and a mode is hit if a row of high quality is nearest to it.
    `mode_kl` is over the rows of high quality, as PacGAN's code counts; a fact tells it over all rows.

    Images, by a classifier's logits `[N, groups·classes]`: a row's mode is the combination of the classes predicted in
    each group (stacked MNIST: 3 groups of 10 classes, 1000 modes), and all rows count; there is no `high_quality`.

    `mode_kl` is KL(p ‖ u) = Σ p_k ln(p_k·K), in nats, of the rows' shares p over the K modes and the uniform law u: 0
    to ln K, and about (K − 1)/(2N) for N rows of u. It is left out where no row is of high quality.

    24 bytes are kept per row.
    """

    name = "modes"
    better: ClassVar = {"modes": "higher", "high_quality": "higher", "mode_kl": "lower"}
    sides: ClassVar = {"fake": "samples"}
    at_least = 1
    Config = ModesConfig
    config: ModesConfig

    def _reset(self) -> None:
        self._kept = Kept()

    def _update(self, side: Side, seen: Seen) -> None:
        self._kept.add(seen.index, torch.stack(self._hits(seen), dim=1))

    def _hits(self, seen: Seen) -> Hits:
        if self.config.world is not None:
            return hits_of_points(seen.features, WORLDS[self.config.world])
        if seen.logits is None:
            raise UserError(
                "modes needs to know what the modes are: modes.world=ring or grid for points, or for images an "
                "extractor that classifies"
            )
        return hits_of_images(seen.logits, self.config.groups)

    def _compute(self, table: Table) -> dict[str, Score]:
        hits = Hits(*self._kept.rows(table).cpu().unbind(1))
        good, points = hits.good.bool(), self.config.world is not None
        of, n = int(hits.of[0]), len(good)
        counts = torch.bincount(hits.mode[good], minlength=of)
        counted = int(counts.sum())
        facts: dict[str, Any] = {"of": of, "rows": {"fake": n}, "counting": self._counting()}
        note = ("no row is of high quality, so their spread over the modes is not defined",)
        scores = {"modes": Score(value=float((counts > 0).sum()), facts=facts, notes=() if counted else note)}
        if points:
            scores["high_quality"] = share(good, rows=facts["rows"], counting=facts["counting"])
        if counted:
            everywhere = kl_to_uniform(torch.bincount(hits.mode, minlength=of))
            more = {"counted_rows": counted, "chance": (of - 1) / (2 * counted), "over_all_rows": everywhere}
            scores["mode_kl"] = Score(value=kl_to_uniform(counts), facts={**facts, **more})
        return scores

    def _counting(self) -> str:
        if self.config.world is not None:
            return f"rows within {WIDTHS:g} sigma of the nearest centre of {self.config.world}"
        return f"all rows, by their predicted classes in {self.config.groups} groups"


def hits_of_points(points: Tensor, world: Mixture) -> Hits:
    """The nearest centres of points `[B, 2]`, and which points are within 3σ of theirs.

    Raises:
        UserError: the features are not points in the plane.
    """
    if points.shape[1] != world.centres.shape[1]:
        raise UserError(
            f"modes of '{world.name}' are of points in the plane, and features are {points.shape[1]} numbers wide: "
            f"choose --features pixels"
        )
    offsets = points.cpu().double()[:, None] - torch.from_numpy(world.centres)
    distance, mode = offsets.square().sum(2).sqrt().min(1)
    return Hits(mode, (distance <= WIDTHS * world.sigma).long(), torch.full_like(mode, len(world.centres)))


def hits_of_images(logits: Tensor, groups: int) -> Hits:
    """The combinations of the classes predicted in each group, of logits `[B, groups·classes]`: with 10 classes the
    digits of a number, first group first.

    Raises:
        UserError: the logits do not divide into the groups, or there would be too many modes to count.
    """
    width = logits.shape[1]
    classes = width // groups
    if width % groups:
        raise UserError(f"modes: {width} logits do not divide into modes.groups = {groups}")
    if classes**groups > MOST:
        raise UserError(f"modes: {classes} classes in {groups} groups are more than {MOST:,} modes: fewer modes.groups")
    predicted = logits.cpu().unflatten(1, (groups, classes)).argmax(2)
    mode = (predicted * classes ** torch.arange(groups - 1, -1, -1)).sum(1)
    return Hits(mode, torch.ones_like(mode), torch.full_like(mode, classes**groups))


def kl_to_uniform(counts: Tensor) -> float:
    """KL(p ‖ u) = ln K − H(p) in nats, of the shares p of counts `[K]` and the uniform law on K modes."""
    p = counts.double() / counts.sum()
    return (math.log(len(p)) + torch.special.xlogy(p, p).sum()).item()
