"""Wasserstein distances between two sets of features: sliced along random directions, and exact."""

import warnings
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from simulacra import config as settings
from simulacra.errors import UserError
from simulacra.metrics.measure import KeepsBoth, Score
from simulacra.play import Table
from simulacra.randomness import sample_normal

DIRECTIONS_AT_A_TIME = 100  # 10 000 rows on both sides: 16 MB of projections, and a few times that to sort them
ROWS_AT_A_TIME = 1000
ITERATIONS = 1_000_000_000  # of the network simplex; 2000 rows on both sides take more than 100 000
FALLS = "the distance of finite sets falls as rows are added: compare it at equal numbers of rows"


def directions(width: int, first: int, last: int, seed: int) -> Tensor:
    """Directions first … last−1 of the stream `seed`, uniform on the unit sphere: float64 `[D, last − first]`."""
    normal = sample_normal(last - first, width, seed=seed, start=first).double()
    return torch.nn.functional.normalize(normal, dim=1).T


def coupling(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """The optimal transport in one dimension between n and m sorted points of equal masses: from which, to which, and
    how much `[n + m − gcd(n, m)]`.

    It joins equal quantiles (Peyré & Cuturi 2019, Remark 2.30). Their levels are the multiples of 1/n and of 1/m,
    counted in units of 1/nm, so that none is rounded.
    """
    levels = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    mass = levels.diff(prepend=torch.zeros(1, dtype=torch.int64)).double() / (n * m)
    return (levels - 1) // m, (levels - 1) // n, mass


def projected(x: Tensor, y: Tensor, along: Tensor, power: int) -> Tensor:
    """W_p^p of `x` `[N, D]` and `y` `[M, D]` projected on each of the directions `along` `[D, L]`: float64 `[L]`."""
    one, other = (_project(rows, along).sort(dim=0).values for rows in (x, y))
    i, j, mass = (part.to(x.device) for part in coupling(len(x), len(y)))
    return mass @ (one[i] - other[j]).abs().pow(power)


def _project(rows: Tensor, along: Tensor) -> Tensor:
    along = along.to(rows.device)
    return torch.cat([part.double() @ along for part in rows.split(ROWS_AT_A_TIME)])


class SlicedConfig(settings.Config):
    """How the sliced distance is measured."""

    directions: int = Field(default=1000, ge=2, description="random directions")
    power: Literal[1, 2] = Field(default=2, description="p of the p-Wasserstein distance")
    rows: int = Field(default=10_000, ge=2, description="rows of either side, the first ones")
    seed: int = Field(default=0, ge=0, lt=2**62, description="key of the directions")


class SlicedWasserstein(KeepsBoth):
    """Sliced Wasserstein distance (Bonneel et al. 2015) over random directions θ of unit length: (E_θ W_p^p)^{1/p},
    where W_p is the distance of the two sides projected on θ, which sorting gives.

    In the unit of the features. Its standard error is that of the finite number of directions, not that of the rows;
    two finite sets of one law are some distance apart, which falls about as n^{−1/2} in their number. Keeps at most
    `rows` rows of each side; the ranks share the directions.
    """

    name, better = "swd", {"swd": "lower"}
    Config = SlicedConfig
    config: SlicedConfig

    def _compute(self, table: Table) -> dict[str, Score]:
        real, fake = self._rows(table)
        power, number = self.config.power, self.config.directions
        first, last = (number * rank // table.size for rank in (table.rank, table.rank + 1))
        starts = range(first, last, DIRECTIONS_AT_A_TIME)
        parts = [self._block(real, fake, start, min(start + DIRECTIONS_AT_A_TIME, last)) for start in starts]
        costs = table.gather(torch.cat(parts) if parts else real.new_empty(0, dtype=torch.float64))
        value, error = _root(costs, power)
        facts = {
            "directions": number,
            "power": power,
            "rows": {"real": len(real), "fake": len(fake)},
            "error_over": "directions",
        }
        return {"swd": Score(value=value, standard_error=error, facts=facts)}

    def _block(self, real: Tensor, fake: Tensor, first: int, last: int) -> Tensor:
        along = directions(real.shape[1], first, last, self.config.seed)
        return projected(real, fake, along, self.config.power)


def _root(costs: Tensor, power: int) -> tuple[float, float]:
    """The p-th root of the mean of `costs` `[L]`, and its standard error by the delta method."""
    mean = costs.mean().item()
    error = (costs.std() / len(costs) ** 0.5).item()
    value = mean ** (1.0 / power)
    return value, error * value / (power * mean) if mean > 0 else 0.0


class ExactConfig(settings.Config):
    """How the exact distance is measured."""

    power: Literal[1, 2] = Field(default=1, description="p of the p-Wasserstein distance")
    rows: int = Field(
        default=2000, ge=2, le=10_000, description="rows of either side, the first ones; time grows as their cube"
    )


class ExactWasserstein(KeepsBoth):
    """The p-Wasserstein distance W_p between the two sets of rows, their Euclidean distance being the cost: a linear
    programme, solved exactly by POT's network simplex (Bonneel et al. 2011).

    In the unit of the features. n rows on each side take some 40 n² bytes (160 MB for 2000) and time of the order of
    n³. It is biased upwards: two sets of the same law are some distance apart, which falls with n, as n^{−1/D} in D
    dimensions (Weed & Bach 2019).

    Raises:
        UserError: POT is not installed, or it stopped before the optimum.
    """

    name, better = "wasserstein", {"wasserstein": "lower"}
    Config = ExactConfig
    config: ExactConfig

    def _compute(self, table: Table) -> dict[str, Score]:
        real, fake = self._rows(table)
        value = wasserstein(real, fake, self.config.power)
        facts = {"power": self.config.power, "rows": {"real": len(real), "fake": len(fake)}}
        return {"wasserstein": Score(value=value, facts=facts, notes=(FALLS,))}


def wasserstein(x: Tensor, y: Tensor, power: int = 1) -> float:
    """W_p of two sets of rows `[N, D]` and `[M, D]`; see `ExactWasserstein`, also for the errors raised."""
    costs = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").pow(power)
    return _transport(costs.cpu()) ** (1.0 / power)


def _transport(costs: Tensor) -> float:
    """The least cost of moving equal masses at the rows of `costs` `[N, M]` to equal masses at its columns."""
    try:
        import ot
    except ImportError:
        raise UserError("exact Wasserstein distances need POT: pip install 'simulacra[transport]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is in the log
        cost, log = ot.emd2([], [], costs.numpy(), numItermax=ITERATIONS, log=True)
    if log["warning"] is not None:
        raise UserError(f"wasserstein: the network simplex found no optimum; give it fewer rows than {len(costs)}")
    return max(float(cost), 0.0)
