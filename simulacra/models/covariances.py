"""Covariances of K Gaussians in D dimensions: full, one for all (tied), diagonal or spherical.

They are kept as precision factors P, Σ⁻¹ = P Pᵀ (upper triangular where they are matrices): densities need no
factorisation then, and log |Σ|^(−½) is a sum of logarithms.
"""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

CovarianceKind = Literal["full", "tied", "diagonal", "spherical"]


class Floored(NamedTuple):
    """Covariances, and in how many directions they had to be raised to the floor (a scalar)."""

    value: Tensor
    raised: Tensor


class Covariance(ABC):
    """One kind. A `factor` holds all components' P, a `moment` their second moments, as `shape` says."""

    @abstractmethod
    def shape(self, k: int, d: int) -> tuple[int, ...]:
        """Of a factor, and of a moment."""

    @abstractmethod
    def numbers(self, k: int, d: int) -> int:
        """Free parameters of K covariances."""

    @abstractmethod
    def unit(self, k: int, d: int) -> Tensor:
        """The factor of K unit matrices."""

    @abstractmethod
    def of(self, factor: Tensor, k: int) -> Tensor:
        """The P of component k."""

    @abstractmethod
    def squares(self, factor: Tensor, x: Tensor, means: Tensor) -> Tensor:
        """(x − μ)ᵀ Σ⁻¹ (x − μ) = ‖Pᵀ(x − μ)‖² `[K, N]` of rows x `[N, D]` for all means `[K, D]`."""

    @abstractmethod
    def coloured(self, p: Tensor, noise: Tensor) -> Tensor:
        """The d `[N, D]` whose Pᵀd is `noise`."""

    @abstractmethod
    def log_determinants(self, factor: Tensor, d: int) -> Tensor:
        """log |P| of every component `[K]`, or one for all `[]`."""

    @abstractmethod
    def moment(self, centred: Tensor, shares: Tensor) -> Tensor:
        """Σ r ddᵀ over rows d `[N, D]` of one component with the shares r `[N]`, as far as this kind needs it."""

    @abstractmethod
    def joined(self, moments: list[Tensor]) -> Tensor:
        """The moments of K components as one tensor."""

    @abstractmethod
    def estimated(self, moments: Tensor, counts: Tensor, d: int) -> Tensor:
        """The covariances of largest likelihood, of moments about the means and the components' counts `[K]`."""

    @abstractmethod
    def floored(self, covariance: Tensor, floor: float) -> Floored:
        """Eigenvalues below `floor` raised to it: of all covariances Σ ⪰ floor · I the one of largest likelihood, so
        that an M step with a floor is one of EM under that constraint."""

    @abstractmethod
    def factored(self, covariance: Tensor) -> Tensor:
        """The factor of positive definite covariances."""

    @abstractmethod
    def covariances(self, factor: Tensor) -> Tensor:
        """The covariances of a factor, in the same shape."""

    @abstractmethod
    def widest(self, p: Tensor, d: int) -> Tensor:
        """One standard deviation `[D]` along the direction in which component P is widest."""

    def moments(self, centred: Tensor, shares: Tensor) -> Tensor:
        """`moment` of one row `[D]` for each component with its share: d `[K, D]`, r `[K]`."""
        return self.joined([self.moment(row[None], share[None]) for row, share in zip(centred, shares)])


class Full(Covariance):
    """A symmetric matrix for every component: `[K, D, D]`."""

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        """`[K, D, D]`."""
        return k, d, d

    def numbers(self, k: int, d: int) -> int:
        """K D(D + 1)/2."""
        return k * d * (d + 1) // 2

    def unit(self, k: int, d: int) -> Tensor:
        """K unit matrices."""
        return torch.eye(d).expand(self.shape(k, d))

    def of(self, factor: Tensor, k: int) -> Tensor:
        """`[D, D]`."""
        return factor[k]

    def squares(self, factor: Tensor, x: Tensor, means: Tensor) -> Tensor:
        """By one product for each component, of rows with a one behind them and P with −Pᵀμ below it."""
        padded = torch.cat([x, x.new_ones(len(x), 1)], 1)
        norms = x.new_empty(len(means), len(x))
        for k, mean in enumerate(means):
            p = self.of(factor, k)
            torch.linalg.vector_norm(padded @ torch.cat([p, -(mean @ p)[None]]), dim=1, out=norms[k])
        return norms.square_()

    def coloured(self, p: Tensor, noise: Tensor) -> Tensor:
        """By back substitution."""
        return torch.linalg.solve_triangular(p.mT, noise.T, upper=False).T

    def log_determinants(self, factor: Tensor, d: int) -> Tensor:
        """P is triangular."""
        return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def moment(self, centred: Tensor, shares: Tensor) -> Tensor:
        """`[D, D]`."""
        return (centred * shares[:, None]).T @ centred

    def joined(self, moments: list[Tensor]) -> Tensor:
        """`[K, D, D]`."""
        return torch.stack(moments)

    def estimated(self, moments: Tensor, counts: Tensor, d: int) -> Tensor:
        """Each over its own count."""
        return moments / counts[:, None, None]

    def floored(self, covariance: Tensor, floor: float) -> Floored:
        """Only matrices with an eigenvalue below the floor are taken apart: Σ − floor · I has no Cholesky factor."""
        least = floor * torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
        low = torch.linalg.cholesky_ex(covariance - least).info > 0
        if not low.any():
            return Floored(covariance, covariance.new_zeros(()))
        values, vectors = torch.linalg.eigh(covariance[low])
        raised = covariance.clone()
        raised[low] = (vectors * values.clamp_min(floor)[:, None]) @ vectors.mT
        return Floored(raised, (values < floor).sum().to(covariance))

    def factored(self, covariance: Tensor) -> Tensor:
        """L⁻ᵀ of Σ = LLᵀ."""
        unit = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
        lower = torch.linalg.cholesky(covariance)
        return torch.linalg.solve_triangular(lower, unit.expand_as(lower), upper=False).mT

    def covariances(self, factor: Tensor) -> Tensor:
        """LLᵀ, L = P⁻ᵀ."""
        unit = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
        lower = torch.linalg.solve_triangular(factor.mT, unit.expand_as(factor), upper=False)
        return lower @ lower.mT

    def widest(self, p: Tensor, d: int) -> Tensor:
        """The first principal axis, its largest number positive."""
        values, vectors = torch.linalg.eigh(self.covariances(p))
        axis = vectors[:, -1] * values[-1].sqrt()
        return axis * axis[axis.abs().argmax()].sign()


class Tied(Full):
    """One symmetric matrix for all: `[D, D]`. Σ = Σ_k N_k Σ_k / N."""

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        """`[D, D]`."""
        return d, d

    def numbers(self, k: int, d: int) -> int:
        """D(D + 1)/2."""
        return d * (d + 1) // 2

    def of(self, factor: Tensor, k: int) -> Tensor:
        """The one there is."""
        return factor

    def joined(self, moments: list[Tensor]) -> Tensor:
        """Their sum."""
        return torch.stack(moments).sum(0)

    def estimated(self, moments: Tensor, counts: Tensor, d: int) -> Tensor:
        """Over all rows."""
        return moments / counts.sum()

    def floored(self, covariance: Tensor, floor: float) -> Floored:
        """As a full one."""
        value, raised = super().floored(covariance[None], floor)
        return Floored(value[0], raised)


class Diagonal(Covariance):
    """A variance for every component and number: `[K, D]`; P has the inverse deviations."""

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        """`[K, D]`."""
        return k, d

    def numbers(self, k: int, d: int) -> int:
        """K D."""
        return k * d

    def unit(self, k: int, d: int) -> Tensor:
        """Ones."""
        return torch.ones(self.shape(k, d))

    def of(self, factor: Tensor, k: int) -> Tensor:
        """`[D]`, or a scalar."""
        return factor[k]

    def squares(self, factor: Tensor, x: Tensor, means: Tensor) -> Tensor:
        """Each number over its deviation."""
        norms = x.new_empty(len(means), len(x))
        for k, mean in enumerate(means):
            torch.linalg.vector_norm((x - mean).mul_(self.of(factor, k)), dim=1, out=norms[k])
        return norms.square_()

    def coloured(self, p: Tensor, noise: Tensor) -> Tensor:
        """Each number times its deviation."""
        return noise / p

    def log_determinants(self, factor: Tensor, d: int) -> Tensor:
        """The sum of D logarithms."""
        return factor.log().sum(1)

    def moment(self, centred: Tensor, shares: Tensor) -> Tensor:
        """`[D]`."""
        return shares @ centred.square()

    def joined(self, moments: list[Tensor]) -> Tensor:
        """`[K, D]`."""
        return torch.stack(moments)

    def estimated(self, moments: Tensor, counts: Tensor, d: int) -> Tensor:
        """Each over its own count."""
        return moments / counts[:, None]

    def floored(self, covariance: Tensor, floor: float) -> Floored:
        """Variances below the floor are raised to it."""
        return Floored(covariance.clamp_min(floor), (covariance < floor).sum().to(covariance))

    def factored(self, covariance: Tensor) -> Tensor:
        """Inverse deviations."""
        return covariance.rsqrt()

    def covariances(self, factor: Tensor) -> Tensor:
        """Variances."""
        return factor.square().reciprocal()

    def widest(self, p: Tensor, d: int) -> Tensor:
        """Along the number of the largest deviation."""
        deviations = p.reciprocal().expand(d)
        axis = torch.zeros_like(deviations)
        axis[deviations.argmax()] = deviations.max()
        return axis


class Spherical(Diagonal):
    """One variance for every component: `[K]`."""

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        """`[K]`."""
        return (k,)

    def numbers(self, k: int, d: int) -> int:
        """K."""
        return k

    def log_determinants(self, factor: Tensor, d: int) -> Tensor:
        """D equal logarithms."""
        return d * factor.log()

    def moment(self, centred: Tensor, shares: Tensor) -> Tensor:
        """A scalar: Σ r‖d‖²."""
        return super().moment(centred, shares).sum()

    def estimated(self, moments: Tensor, counts: Tensor, d: int) -> Tensor:
        """Over the count and the dimensions."""
        return moments / (d * counts)


COVARIANCES: dict[CovarianceKind, Covariance] = {
    "full": Full(),
    "tied": Tied(),
    "diagonal": Diagonal(),
    "spherical": Spherical(),
}
