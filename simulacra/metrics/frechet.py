"""Fréchet distance between the Gaussians that fit two sets of features (Heusel et al. 2017), whole or by class."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from simulacra.errors import UserError
from simulacra.metrics.measure import WORDS, Measure, Score, Seen, Side
from simulacra.play import Table

BLOCK = 1024
"""Rows that are widened to float64 at a time."""
DOUBT = 1e-10
"""Relative error of the fast way to Tr (Σ1 Σ2)^½ from which on the slow one is taken."""
ROUNDING = 1e-8
"""Share of the traces by which a distance may fall below 0 by rounding alone."""


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64)


@dataclass(eq=False)
class Moments:
    """Count, mean and scatter of rows as they come, in float64 on the CPU; 8·D² bytes and a block of 1024 rows.

    Parts are merged by their deviations from their own means (Chan, Golub & LeVeque 1979), so a mean that is
    large beside the spread costs no digits.

    Attributes:
        count: the rows seen.
        mean: `[D]`; `[0]` before the first row.
        scatter: Σ (x − mean)(x − mean)ᵀ, `[D, D]`.
    """

    count: int = 0
    mean: Tensor = field(default_factory=lambda: _zeros(0))
    scatter: Tensor = field(default_factory=lambda: _zeros(0, 0))

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance `[D, D]`, scatter / (count − 1). Raises ValueError for fewer than 2 rows."""
        if self.count < 2:
            raise ValueError(f"the covariance of {self.count} rows")
        return self.scatter / (self.count - 1)

    def add(self, features: Tensor) -> None:
        """Take in rows `[B, D]`."""
        for block in features.detach().split(BLOCK):
            if len(block):
                self._merge(block.cpu().double())

    def _merge(self, rows: Tensor) -> None:
        if not self.count:
            self.mean, self.scatter = _zeros(rows.shape[1]), _zeros(rows.shape[1], rows.shape[1])
        total = self.count + len(rows)
        mean = rows.mean(0)
        shift = (mean - self.mean) * (self.count * len(rows) / total) ** 0.5
        deviations = torch.cat([rows - mean, shift[None]])
        self.scatter.addmm_(deviations.T, deviations)
        self.mean = self.mean + (mean - self.mean) * (len(rows) / total)
        self.count = total

    def joined(self, table: Table) -> "Moments":
        """The moments of the rows of all ranks; a rank may have none. Every rank must call it. 24·D² bytes more."""
        if table.size == 1:
            return self
        width = int(table.gather(torch.tensor([len(self.mean)])).max())
        own = self if self.count else Moments(0, _zeros(width), _zeros(width, width))
        count, mean = torch.tensor([float(self.count)], dtype=torch.float64), own.mean * own.count
        table.sum([count, mean])
        mean /= count.clamp(min=1.0)
        scatter = torch.addr(own.scatter, own.mean - mean, own.mean - mean, alpha=own.count)
        table.sum([scatter])
        return Moments(int(count), mean, scatter)


def trace_of_root(a: Tensor, b: Tensor) -> float:
    """Tr (Σ1 Σ2)^½ of symmetric positive semi-definite matrices a, b, float64 `[D, D]`, of any rank.

    With Σ1 = F1ᵀF1 the non-zero eigenvalues of Σ1Σ2 are those of the symmetric F1 Σ2 F1ᵀ. The root of one that should
    be 0 turns a rounding of ε into √ε. Where such roots may matter the roots themselves are computed, at twice the
    price: with Σ2 = F2ᵀF2 they are the singular values of F1 F2ᵀ, which are right to ε times the largest.
    """
    first, second = a.numpy(), b.numpy()
    factor = _factor(first)
    roots = np.sqrt(np.linalg.eigvalsh(factor @ second @ factor.T).clip(min=0.0)[::-1])
    if _doubt(roots, factor, second) <= DOUBT * roots.sum():
        return float(roots.sum())
    return float(np.linalg.svd(factor @ _factor(second).T, compute_uv=False).sum())


def _factor(matrix: np.ndarray) -> np.ndarray:
    """F `[r, D]` with FᵀF = `matrix` `[D, D]`, r its numerical rank: Cholesky with complete pivoting (LAPACK's pstrf),
    stopped where what is left has no diagonal element above D·ε times the largest of the matrix."""
    from scipy.linalg import get_lapack_funcs

    (pstrf,) = get_lapack_funcs(("pstrf",), dtype=np.float64)
    pivoted, pivots, rank, _ = pstrf(matrix.T)
    factor = np.zeros((rank, len(matrix)))
    factor[:, pivots - 1] = np.triu(pivoted[:rank])
    return factor


def _doubt(roots: np.ndarray, factor: np.ndarray, second: np.ndarray) -> float:
    """About how wrong the sum of the falling `roots` `[r]` of the eigenvalues of F1 Σ2 F1ᵀ may be.

    Pivoting sorts the rows of F1 by their influence, so the k-th eigenvalue is moved by rounding of the rows from k on:
    by some ε·‖row‖²·Tr Σ2, not by ε times the largest eigenvalue.
    """
    norms = np.einsum("kd,kd->k", factor, factor)
    rest = np.maximum.accumulate(norms[::-1])[::-1]
    error, tiny = 8.0 * np.finfo(np.float64).eps * rest * abs(np.trace(second)), np.finfo(np.float64).tiny
    return float((error / np.maximum(2.0 * roots, np.sqrt(error) + tiny)).sum())


def frechet_distance(real: Moments, fake: Moments) -> float:
    """‖m1 − m2‖² + Tr(C1 + C2 − 2 (C1 C2)^½), in squared units of the features, at least 0 (Heusel et al. 2017, eq. 6;
    Dowson & Landau 1982). Needs 2 rows on each side; about 60·D² bytes at D features.

    Raises:
        ArithmeticError: the scatter of a side is not positive semi-definite, so that the result is below 0.
    """
    a, b = real.covariance, fake.covariance
    traces = (a.trace() + b.trace()).item()
    shift = (real.mean - fake.mean).square().sum().item()
    value = shift + traces - 2.0 * trace_of_root(a, b)
    if value < -ROUNDING * traces:
        raise ArithmeticError(f"a Fréchet distance of {value}: a covariance is not positive semi-definite")
    return max(value, 0.0)


class FID(Measure):
    """Fréchet Inception distance (Heusel et al. 2017) in the features at hand. Memory: 16·D² bytes while rows come."""

    name = "fid"
    better: ClassVar = {"fid": "lower"}

    def _reset(self) -> None:
        self._moments: dict[Side, Moments] = {side: Moments() for side in self.sides}

    def _update(self, side: Side, seen: Seen) -> None:
        self._moments[side].add(seen.features)

    def _compute(self, table: Table) -> dict[str, Score]:
        joint = {side: moments.joined(table) for side, moments in self._moments.items()}
        facts = {"rows": dict(self.counts), "dimensions": len(joint["real"].mean)}
        notes = tuple(_singular(WORDS[side], m) for side, m in joint.items() if m.count <= len(m.mean))
        return {"fid": Score(value=frechet_distance(joint["real"], joint["fake"]), facts=facts, notes=notes)}


def _singular(whose: str, moments: Moments) -> str:
    return (
        f"{whose} has {moments.count} rows for {len(moments.mean)} feature dimensions: its covariance is singular and "
        "the distance is biased upward, so it compares with no other; use kid"
    )


class IntraFID(Measure):
    """Fréchet distance of each class to the real rows of that class, averaged over classes (Miyato & Koyama 2018).

    Memory: one scatter of 8·D² bytes per class and side while rows come (33 MB at D = 2048), so it is for tens of
    classes; they are joined over ranks one at a time.
    """

    name = "intra_fid"
    better: ClassVar = {"intra_fid": "lower"}
    wants = ("labels",)

    def _reset(self) -> None:
        self._moments: dict[Side, dict[int, Moments]] = {side: {} for side in self.sides}

    def _update(self, side: Side, seen: Seen) -> None:
        assert seen.labels is not None
        labels = seen.labels.to(seen.features.device)
        for label in labels.unique().tolist():
            self._moments[side].setdefault(label, Moments()).add(seen.features[labels == label])

    def _compute(self, table: Table) -> dict[str, Score]:
        real, fake = (self._classes(side, table) for side in self.sides)
        self._check_classes(real, fake)
        values, few = {}, []
        for label in real:
            pair = {side: self._joined(side, label, table) for side in self.sides}
            values[str(label)] = frechet_distance(pair["real"], pair["fake"])
            if any(moments.count <= len(moments.mean) for moments in pair.values()):
                few.append(label)
        facts = {"classes": values, "rows": dict(self.counts)}
        return {
            "intra_fid": Score(value=sum(values.values()) / len(values), facts=facts, notes=_notes(real, fake, few))
        }

    def _classes(self, side: Side, table: Table) -> list[int]:
        """The classes that any rank has seen on `side`, in order."""
        own = torch.tensor(list(self._moments[side]), dtype=torch.int64)
        return table.gather(own).unique().tolist()

    def _check_classes(self, real: list[int], fake: list[int]) -> None:
        missing = sorted({*real} - {*fake})
        if missing == real:
            raise UserError(f"{self.name}: the generated rows are of none of the real rows' classes")
        if missing:
            raise UserError(f"{self.name}: no generated rows of {_listed(missing)}: generate some of every real class")

    def _joined(self, side: Side, label: int, table: Table) -> Moments:
        moments = self._moments[side].get(label, Moments()).joined(table)
        if moments.count < 2:
            raise UserError(f"{self.name} needs at least 2 rows of every class: {WORDS[side]} has 1 of class {label}")
        return moments


def _notes(real: list[int], fake: list[int], few: list[int]) -> tuple[str, ...]:
    """What to know of classes with `few` rows, and of those that only the generated rows have."""
    notes = []
    if few:
        notes.append(
            f"no more rows than feature dimensions in {_listed(few)}: the covariances are singular and the distances "
            "biased upward, so they compare with no others"
        )
    if extra := sorted({*fake} - {*real}):
        notes.append(f"generated rows of {_listed(extra)} are left out: there are no real ones")
    return tuple(notes)


def _listed(labels: list[int], most: int = 5) -> str:
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return f"class{'es' * (len(labels) > 1)} {', '.join(map(str, labels[:most]))}{more}"
