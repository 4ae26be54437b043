"""Gaussian posteriors q(z|x), reparameterised, and what a bound on log p(x) asks of them."""

from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor

from simulacra.costs.divergences import kl_of_each, kl_standard_normal, kl_standard_normal_cholesky

PosteriorKind = Literal["diagonal", "full"]


class Posterior(NamedTuple):
    """q(z|x) = N(mean, diag exp(log_variance)), both `[N, J]`."""

    mean: Tensor
    log_variance: Tensor

    def at(self, epsilon: Tensor) -> Tensor:
        """z = μ + σ ⊙ ε: the reparameterisation trick (Kingma & Welling 2014, §2.4)."""
        return self.mean + (0.5 * self.log_variance).exp() * epsilon

    def kl(self) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)) `[N]`."""
        return kl_standard_normal(*self)

    def kl_of_each(self) -> Tensor:
        """Its parts by dimension, `[N, J]`."""
        return kl_of_each(*self)

    def repeated(self, times: int) -> Self:
        """Every row `times` times over, one after the other."""
        return type(self)(*(part.repeat_interleave(times, 0) for part in self))

    def relative_to(self, other: "Posterior") -> "Posterior":
        """The same law in the coordinates in which `other` is N(0, I): z = other.at(z′). Divergences and ratios of
        densities do not change with coordinates, so `kl` and `log_ratio` of the result are those from `other`."""
        mean = (self.mean - other.mean) * (-0.5 * other.log_variance).exp()
        return Posterior(mean, self.log_variance - other.log_variance)

    def log_ratio(self, epsilon: Tensor) -> Tensor:
        """log p(z) − log q(z|x) `[N]` at z = at(ε), p standard normal."""
        return 0.5 * (epsilon.square() - self.at(epsilon).square() + self.log_variance).sum(1)


class FullPosterior(NamedTuple):
    """q(z|x) = N(mean, LLᵀ) of any covariance: mean `[N, J]`, and lower triangular `factor` L `[N, J, J]` with a
    positive diagonal, Cholesky's (Kingma & Welling 2019, "An Introduction to Variational Autoencoders")."""

    mean: Tensor
    factor: Tensor

    def at(self, epsilon: Tensor) -> Tensor:
        """z = μ + Lε, in the factor's precision whatever surrounds it."""
        return self.mean + (self.factor * epsilon.unsqueeze(1)).sum(2)

    def noise_of(self, z: Tensor) -> Tensor:
        """The ε `[N, J]` with at(ε) = z, which is N(0, I) where z is of q(z|x)."""
        return torch.linalg.solve_triangular(self.factor, (z - self.mean).unsqueeze(2), upper=False).squeeze(2)

    def kl(self) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)) `[N]`."""
        return kl_standard_normal_cholesky(*self)

    def kl_of_each(self) -> Tensor:
        """All of it as the part of one group, `[N, 1]`: correlated dimensions have no parts of their own."""
        return self.kl()[:, None]

    def repeated(self, times: int) -> Self:
        """Every row `times` times over, one after the other."""
        return type(self)(*(part.repeat_interleave(times, 0) for part in self))

    def log_ratio(self, epsilon: Tensor) -> Tensor:
        """log p(z) − log q(z|x) `[N]` at z = at(ε), p standard normal."""
        log_det = self.factor.diagonal(dim1=1, dim2=2).log().sum(1)
        return 0.5 * (epsilon.square() - self.at(epsilon).square()).sum(1) + log_det


AnyPosterior = Posterior | FullPosterior


def numbers_of(covariance: PosteriorKind, latent: int) -> int:
    """How many numbers a row of an encoder's output needs for a posterior of `latent` dimensions."""
    return 2 * latent + (latent * (latent - 1) // 2 if covariance == "full" else 0)


def posterior_from(output: Tensor, covariance: PosteriorKind, latent: int) -> AnyPosterior:
    """The posterior that an encoder's `output` `[N, numbers_of(covariance, latent)]` means: means, log σ² or log L_jj²,
    and for the full one L_jk / L_jj for k < j, row by row: zeros mean the diagonal posterior."""
    if covariance == "diagonal":
        return Posterior(*output.chunk(2, dim=1))
    mean, log_diagonal, below = output.split([latent, latent, latent * (latent - 1) // 2], dim=1)
    rows, columns = torch.tril_indices(latent, latent, -1, device=output.device)
    unit = torch.eye(latent).to(output).repeat(len(output), 1, 1)
    unit = unit.index_put((torch.arange(len(output)).to(rows)[:, None], rows, columns), below)
    return FullPosterior(mean, (0.5 * log_diagonal).exp().unsqueeze(2) * unit)
