"""How generated rows lie beside as many real ones: numbers from distances between them, in pixels or coordinates."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Beside:
    """N generated rows beside N real ones.

    Attributes:
        distinct: share of generated rows that are no copy of an earlier one.
        diversity: mean distance between generated rows over that between real ones.
        nearest: median distance of a generated row to its nearest over that of a real one.
        told_apart: share of rows whose nearest is of their own kind (Lopez-Paz & Oquab 2017, §3.2): 1/2 where both
            follow one law.
        distance: mean distance between a generated and a real row.
    """

    distinct: float
    diversity: float
    nearest: float
    told_apart: float
    distance: float


def compare(fake: Tensor, real: Tensor) -> Beside:
    """Compare rows `[N, ...]` with rows `[N, ...]`, N at least 2. Memory is 4·(2N)² bytes beside them."""
    both = torch.cat([fake, real]).flatten(1).float()
    d, n = torch.cdist(both, both), len(fake)
    d.fill_diagonal_(torch.inf)
    own, others = d[:n, :n], d[n:, n:]
    nearest = d.argmin(1)
    kind = torch.arange(2 * n, device=d.device) < n
    return Beside(
        distinct=distinct(fake),
        diversity=_ratio(_mean(own), _mean(others)),
        nearest=_ratio(own.min(1).values.median(), others.min(1).values.median()),
        told_apart=float((kind[nearest] == kind).float().mean()),
        distance=float(d[:n, n:].mean()),
    )


def distinct(rows: Tensor) -> float:
    """Share of rows `[N, ...]` that equal no earlier one; copies to 1e-4 of the largest number count as equal."""
    flat = rows.flatten(1).double()
    step = 1e-4 * flat.abs().max().clamp_min(1e-30)
    return len((flat / step).round().unique(dim=0)) / max(len(flat), 1)


def spread(rows: Tensor) -> float:
    """Mean distance between different rows `[N, ...]`, N at least 2."""
    d = torch.cdist(rows.flatten(1).float(), rows.flatten(1).float())
    return float(d.sum() / (len(d) * (len(d) - 1)))


def room(latents: Tensor, real: Tensor) -> float:
    """How far apart neighbours among `latents` `[N, J]` lie for how far all of them spread, over the same of `real`
    rows, at most 1: samples of two latents cannot keep the distances of rows that vary in twenty ways."""
    theirs, ours = _crowding(real), _crowding(latents)
    return 1.0 if theirs is None or ours is None else min(ours / theirs, 1.0)


def _crowding(rows: Tensor) -> float | None:
    """Median distance to the nearest row over the mean distance; None where rows are alike."""
    far = spread(rows)
    return float(nearest_of(rows, rows, own=True).median()) / far or None if far else None


def nearest_of(rows: Tensor, others: Tensor, own: bool = False) -> Tensor:
    """Distance of each row `[N, ...]` to the nearest of `others` `[M, ...]`; `own`: they are the first of them, and a
    row is not its own neighbour."""
    d = torch.cdist(rows.flatten(1).float(), others.flatten(1).float())
    if own:
        d.fill_diagonal_(torch.inf)
    return d.min(1).values


def memorised(fake: Tensor, train: Tensor) -> float:
    """Median distance of generated rows to the nearest training row, over that of training rows to another one."""
    many = train[: max(len(fake), 2)]
    return _ratio(nearest_of(fake, train).median(), nearest_of(many, train, own=True).median())


def ranked(real: Tensor, fake: Tensor) -> float:
    """Share of pairs whose real row `[N]` is scored above the generated one `[M]`, a tie being half a pair."""
    difference = real[:, None] - fake[None]
    return float(0.5 + 0.5 * difference.sign().mean())


class Means:
    """A classifier by the nearest class mean, of rows `[N, ...]` with labels int64 `[N]` below `classes`."""

    def __init__(self, rows: Tensor, labels: Tensor, classes: int) -> None:
        flat = rows.flatten(1).float()
        counts = torch.bincount(labels, minlength=classes).to(flat)
        sums = flat.new_zeros(classes, flat.shape[1]).index_add_(0, labels, flat)
        self.means = sums / counts[:, None].clamp_min(1.0)
        self.absent = counts == 0

    def of(self, rows: Tensor) -> Tensor:
        """The class int64 `[N]` of each row, never one that had no rows."""
        d = torch.cdist(rows.flatten(1).float(), self.means)
        return d.masked_fill(self.absent, torch.inf).argmin(1)


def above_chance(said: Tensor, labels: Tensor, classes: int) -> tuple[float, float]:
    """How often classes int64 `[N]` are right, and by how many standard errors that is above what the same answers
    would reach on labels in another order."""
    shares = [torch.bincount(each, minlength=classes).double() / len(labels) for each in (said, labels)]
    chance = float((shares[0] * shares[1]).sum())
    right = float((said == labels).double().mean())
    error = max(chance * (1.0 - chance) / len(labels), 1e-12) ** 0.5
    return right, (right - chance) / error


def _mean(d: Tensor) -> Tensor:
    finite = d.masked_fill(d == torch.inf, 0.0)
    return finite.sum() / (len(d) * (len(d) - 1))


def _ratio(a: Tensor, b: Tensor) -> float:
    """a / b; 1 where both are 0."""
    return float(a / b) if float(b) > 0 else 1.0 if float(a) == 0 else float("inf")
