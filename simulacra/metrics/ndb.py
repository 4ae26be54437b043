"""Number of statistically different bins (Richardson & Weiss 2018, "On GANs and GMMs", section 2)."""

import warnings
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from scipy.special import ndtri
from torch import Tensor

from simulacra.config import Config
from simulacra.errors import UserError
from simulacra.metrics.distances import nearest
from simulacra.metrics.measure import KeepsBoth, Score
from simulacra.play import Table


class NDBConfig(Config):
    """How finely the real rows are divided, and when a bin counts as different."""

    bins: int = Field(default=100, ge=2, description="cells that k-means divides the real rows into")
    significance: float = Field(default=0.05, gt=0, lt=1, description="level of each bin's two-sided test")
    rows: int = Field(default=10_000, ge=2, description="rows of each side, at most")
    seed: int = Field(default=0, ge=0, lt=2**32, description="key of the first centres of k-means")


class Bins(NamedTuple):
    """How many real and how many generated rows fall into each bin, int64 `[K]`."""

    real: Tensor
    fake: Tensor


class NDB(KeepsBoth):
    """The share of bins that hold significantly more or fewer generated rows than real ones.

    Bins are the cells of k-means on the real rows (scikit-learn's, one run from k-means++ centres; features as they
    are, not whitened). `ndb` is the share NDB/K, about the significance level for samples of the real law; `ndb_js` is
    the Jensen–Shannon divergence of the two histograms, in nats.

    Cells fit the rows that made them: with few real rows per bin, and in many dimensions, even samples of the real law
    differ in more bins than the level says (28 % for 10 000 rows of 512 independent Gaussians).

    The rows are kept: 8·rows·D bytes, 164 MB at 10 000 × 2048.
    """

    name = "ndb"
    better: ClassVar = {"ndb": "lower", "ndb_js": "lower"}
    Config = NDBConfig
    config: NDBConfig

    def _compute(self, table: Table) -> dict[str, Score]:
        real, fake = self._rows(table)
        if len(real) < self.config.bins:
            raise UserError(
                f"{self.config.bins} bins need as many real rows, and there are {len(real)}: choose fewer ndb.bins"
            )
        bins = self._bins(real, fake)
        n, m, level = len(real), len(fake), self.config.significance
        different = (z_scores(bins).abs() > ndtri(1 - level / 2)).double()
        facts = {"bins": self.config.bins, "rows": {"real": n, "fake": m}, "seed": self.config.seed}
        chance = (self.config.bins - 1) / 8 * (1 / n + 1 / m)  # to second order in the differences
        return {
            "ndb": Score(value=different.mean().item(), facts={**facts, "significance": level, "chance": level}),
            "ndb_js": Score(value=jensen_shannon(bins), facts={**facts, "chance": chance}),
        }

    def _bins(self, real: Tensor, fake: Tensor) -> Bins:
        centres = cell_centres(real, self.config.bins, self.config.seed)
        cells = (nearest(rows, centres, 1).indices[:, 0] for rows in (real, fake))
        bins = Bins(*(torch.bincount(cell, minlength=len(centres)).cpu() for cell in cells))
        filled = int((bins.real > 0).sum())
        if filled < len(centres):
            raise UserError(f"only {filled} of {len(centres)} bins hold real rows, as many are equal: fewer ndb.bins")
        return bins


def cell_centres(rows: Tensor, bins: int, seed: int) -> Tensor:
    """The centres `[bins, D]` of k-means on rows `[N, D]`, N ≥ bins: a function of rows and seed alone."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer distinct rows than bins: those stay empty
        kmeans = KMeans(bins, n_init=1, random_state=seed)  # type: ignore[reportArgumentType]
        means = kmeans.fit(rows.cpu().numpy())
    return torch.from_numpy(means.cluster_centers_).to(rows)


def z_scores(bins: Bins) -> Tensor:
    """The two-proportions z of each bin, float64 `[K]`, positive where generated rows are too many.

    z = (q − p) / √(r(1 − r)(1/n + 1/m)), with p and q the bin's shares of n real and m generated rows and r that of
    both together (Richardson & Weiss 2018, section 2.1); 0 where r is 0 or 1.
    """
    n, m = bins.real.sum().double(), bins.fake.sum().double()
    together = (bins.real + bins.fake) / (n + m)
    error = (together * (1 - together) * (1 / n + 1 / m)).sqrt()
    return torch.where(error > 0, (bins.fake / m - bins.real / n) / error, 0.0)


def jensen_shannon(bins: Bins) -> float:
    """½ KL(p ‖ r) + ½ KL(q ‖ r) with r = ½(p + q), in nats, of the bins' shares p and q: 0 to ln 2."""
    p, q = (counts.double() / counts.sum() for counts in bins)
    mean = (p + q) / 2
    halves = [(torch.special.xlogy(x, x) - torch.special.xlogy(x, mean)).sum() for x in (p, q)]
    return 0.5 * torch.stack(halves).sum().item()
