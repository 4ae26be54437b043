"""Restricted Boltzmann machines as functions of their parameters: conditionals, free energies, Gibbs sampling.

A machine is a tuple of tensors and owns none of them, so that one can be made of tied, doubled or stacked parts.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

if TYPE_CHECKING:
    from simulacra.randomness import Noise


class Machine(NamedTuple):
    """Bits v `[N, V]` and h `[N, H]` of energy E(v, h) = −vᵀWh − bᵀv − aᵀh (Hinton 2010, eq. 1).

    Attributes:
        weight: W `[V, H]`.
        visible: b `[V]`.
        hidden: a `[H]`.
    """

    weight: Tensor
    visible: Tensor
    hidden: Tensor

    def drive(self, v: Tensor) -> Tensor:
        """What the hidden units get: a + vW `[N, H]`, the logits of p(h = 1|v) (eq. 7)."""
        return torch.addmm(self.hidden, v, self.weight)

    def expected(self, h: Tensor) -> Tensor:
        """E[v|h] `[N, V]`: σ(b + hWᵀ) (eq. 8)."""
        return torch.addmm(self.visible, h, self.weight.T).sigmoid()

    def visible_given(self, h: Tensor, noise: "Noise") -> Tensor:
        """v ~ p(v|h)."""
        return bits(self.expected(h), noise)

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h) `[N]`."""
        return -((v @ self.weight) * h).sum(1) - v @ self.visible - h @ self.hidden

    def free_energy(self, v: Tensor, drive: Tensor | None = None) -> Tensor:
        """F(v) = −log Σ_h exp(−E(v, h)) `[N]` = −bᵀv − Σ_j log(1 + exp drive_j) (eq. 25)."""
        return -(v @ self.visible) - occupied(self.drive(v) if drive is None else drive)


class GaussianMachine(NamedTuple):
    """Real v `[N, V]` and bits h `[N, H]` of energy E(v, h) = Σ_i (v_i − b_i)² / 2σ_i² − (v/σ)ᵀWh − aᵀh (Hinton 2010,
    eq. 17); the attributes of a `Machine`, and σ `[V]`."""

    weight: Tensor
    visible: Tensor
    hidden: Tensor
    sigma: Tensor

    def drive(self, v: Tensor) -> Tensor:
        """a + (v/σ)W `[N, H]`, the logits of p(h = 1|v)."""
        return torch.addmm(self.hidden, v / self.sigma, self.weight)

    def expected(self, h: Tensor) -> Tensor:
        """E[v|h] `[N, V]`: b + σ(hWᵀ)."""
        return self.visible + self.sigma * (h @ self.weight.T)

    def visible_given(self, h: Tensor, noise: "Noise") -> Tensor:
        """v ~ N(E[v|h], diag σ²)."""
        normal = noise.normal(len(self.visible)).to(self.weight)
        return self.expected(h) + self.sigma * normal

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h) `[N]`."""
        return self._well(v) - ((v / self.sigma) @ self.weight * h).sum(1) - h @ self.hidden

    def free_energy(self, v: Tensor, drive: Tensor | None = None) -> Tensor:
        """F(v) `[N]` = Σ_i (v_i − b_i)² / 2σ_i² − Σ_j log(1 + exp drive_j)."""
        return self._well(v) - occupied(self.drive(v) if drive is None else drive)

    def _well(self, v: Tensor) -> Tensor:
        return 0.5 * ((v - self.visible) / self.sigma).square().sum(1)


AnyMachine = Machine | GaussianMachine


def bits(probability: Tensor, noise: "Noise") -> Tensor:
    """Independent bits `[N, U]` that are one with `probability`."""
    return (noise.uniform(probability.shape[1]).to(probability.device) < probability).to(probability.dtype)


def hidden_given(machine: AnyMachine, v: Tensor, noise: "Noise") -> Tensor:
    """h ~ p(h|v)."""
    return bits(machine.drive(v).sigmoid(), noise)


def occupied(drive: Tensor) -> Tensor:
    """Σ_j log(1 + exp drive_j) `[N]`: the hidden units summed out."""
    return softplus(drive, threshold=40.0).sum(1)


def sweep(machine: AnyMachine, h: Tensor, noise: "Noise", steps: int) -> Tensor:
    """Hidden units `[N, H]` after `steps` steps of Gibbs sampling, of both layers each."""
    for _ in range(steps):
        h = hidden_given(machine, machine.visible_given(h, noise), noise)
    return h


class Contrast(NamedTuple):
    """What contrastive divergence finds.

    Attributes:
        divergence: F(v) − F(ṽ) `[N]`.
        fantasy: ṽ `[N, V]`.
        after: p(h|ṽ) `[N, H]`.
    """

    divergence: Tensor
    fantasy: Tensor
    after: Tensor


def contrast(machine: AnyMachine, v: Tensor, noise: "Noise", steps: int, hidden: Tensor | None = None) -> Contrast:
    """F(v) − F(ṽ), whose gradient is that of contrastive divergence, ṽ being held fixed: −⟨∂E⟩_data + ⟨∂E⟩_chain
    (Hinton 2010, eq. 5), with hidden units summed out at both ends.

    ṽ is what a Gibbs chain of `steps` steps arrives at from v (CD-k: Hinton 2002), or from `hidden`, where a chain that
    goes on had left its hidden units (PCD: Tieleman 2008).
    """
    with torch.no_grad():
        h = hidden_given(machine, v, noise) if hidden is None else hidden
        fantasy = machine.visible_given(sweep(machine, h, noise, steps - 1), noise)
    both = torch.cat([v, fantasy])  # one product of matrices for both, and one for their gradient
    drive = machine.drive(both)
    data, chain = machine.free_energy(both, drive).chunk(2)
    return Contrast(data - chain, fantasy, drive[len(v) :].detach().sigmoid())
