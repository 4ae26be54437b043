"""Deep Boltzmann machine (Salakhutdinov & Hinton 2009, "Deep Boltzmann Machines"; equations are its): layers with
undirected weights between neighbours. Learned layer by layer with doubled weights (§3.1), then all together: mean field
where there is data, persistent chains where there is none (§2).

Given the even layers (data among them) the odd ones are independent, and the other way round, so that the whole is one
restricted Boltzmann machine between even and odd layers, most of whose weights are zero: its Gibbs sampler, free energy
and partition function are those of that machine."""

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra.buffers import evaluating
from simulacra.config import Sizes
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.metrics.ais import base_rate
from simulacra.models.base import in_batches
from simulacra.models.energy import (
    SMOOTHING,
    BitsConfig,
    EnergyModel,
    Gibbs,
    brightness,
    contrastive_divergence,
    filters_of,
    in_float64,
    observed,
    parts,
    shown_bits,
    shrinking,
)
from simulacra.networks.boltzmann import Machine, bits, hidden_given, sweep
from simulacra.precision import full_precision
from simulacra.randomness import Draws, Noise


class DBMConfig(BitsConfig):
    """What a deep Boltzmann machine is made of."""

    hidden: Sizes = Field(default=(500, 500, 1000), min_length=2, description="units of the hidden layers")
    mean_field: int = Field(
        default=10, ge=1, description="updates of all hidden layers by which the posterior is found"
    )


class Coupled(nn.Module):
    """The weights W_l `[n_l, n_l+1]` from a layer to the next, and the next one's biases; the first holds those of the
    data too."""

    def __init__(self, lower: int, upper: int, data: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.01 * torch.randn(lower, upper))
        self.bias = nn.Parameter(torch.zeros(upper))
        if data:
            self.visible_bias = nn.Parameter(torch.zeros(lower))


class DBM(EnergyModel):
    """p(v, h1, …, hL) ∝ exp(Σ_l h_lᵀW_l h_l+1 + Σ_l b_lᵀh_l), h_0 = v (eq. 9 and its extension to more layers)."""

    name, Config = "dbm", DBMConfig
    config: DBMConfig
    tight = False
    base: Tensor

    def __init__(self, config: DBMConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        sizes = pairwise([spec.numel, *config.hidden])
        self.layers = nn.ModuleList(Coupled(*size, data=k == 0) for k, size in enumerate(sizes))
        self.register_buffer("base", torch.zeros(spec.numel))

    @property
    def coupled(self) -> list[Coupled]:
        """Its layers, from below."""
        return [layer for layer in self.layers if isinstance(layer, Coupled)]

    @property
    def biases(self) -> list[Tensor]:
        """b_0 … b_L."""
        return [self.coupled[0].visible_bias, *(layer.bias for layer in self.coupled)]

    @property
    def machine(self) -> Machine:
        """The whole as a machine: its visible units are the even layers side by side, its hidden ones the odd."""
        biases = self.biases
        return Machine(self._blocks(), torch.cat(biases[::2]), torch.cat(biases[1::2]))

    def _blocks(self) -> Tensor:
        """W_l between layers l and l + 1, zeros between all others."""
        sizes, weights = [len(bias) for bias in self.biases], [layer.weight for layer in self.coupled]
        rows = []
        for k in range(0, len(sizes), 2):
            near = {k + 1: weights[k] if k < len(weights) else None, k - 1: weights[k - 1].T if k else None}
            blocks = [near.get(j) for j in range(1, len(sizes), 2)]
            odd = sizes[1::2]
            rows.append(
                torch.cat([weights[0].new_zeros(sizes[k], n) if b is None else b for b, n in zip(blocks, odd)], 1)
            )
        return torch.cat(rows)

    @torch.no_grad()
    def prepare(self, x: Tensor) -> None:
        """Start the visible biases at the log-odds of the ones in rows of the data `[N, ...]`."""
        unit = brightness(x, self.config.bits)
        self.coupled[0].visible_bias.copy_(base_rate(unit, SMOOTHING))
        self.base.copy_(base_rate(unit))

    # Layer by layer (§3.1)

    def doubled_machine(self, layer: int) -> Machine:
        """The machine that layer number `layer`, from 0, learns as: of two copies of the data, or of the top units,
        with the same weights; between them of doubled weights. Each layer then gets half of what it will get from both
        sides twice over. Biases that a lower layer has learned stand still."""
        weight, (lower, upper) = self.coupled[layer].weight, (self.biases[layer], self.biases[layer + 1])
        if layer == 0:
            return Machine(torch.cat([weight, weight]), torch.cat([lower, lower]), upper)
        if layer + 1 == len(self.coupled):
            return Machine(torch.cat([weight, weight], 1), lower.detach(), torch.cat([upper, upper]))
        return Machine(2.0 * weight, lower.detach(), upper)

    def layer_cost(self, batch: Rows, at: At, layer: int, gibbs: Gibbs, decay: float) -> Terms:
        """The contrastive divergence of one layer's machine, on what the layers below it make of the data."""
        with full_precision(batch.x.device):
            lower = self._up(observed(batch.x, self.config.bits, at), at, layer)
            copies = lower.repeat(1, 2) if layer == 0 else lower
            divergence = contrastive_divergence(self.doubled_machine(layer), copies, at, gibbs)
            return {"divergence": divergence} | shrinking(decay, self.coupled[layer].weight)

    @torch.no_grad()
    def _up(self, v: Tensor, noise: Noise, layers: int) -> Tensor:
        """Bits of a layer, drawn upwards through doubled weights."""
        for layer in self.coupled[:layers]:
            v = bits((2.0 * v @ layer.weight + layer.bias).sigmoid(), noise)
        return v

    @property
    def _upwards(self) -> list[tuple[Coupled, float]]:
        """The layers, and what each multiplies its drive from below by in a first pass up: two while a layer that hears
        from both sides hears from one; the last one has but one."""
        return [(layer, 1.0 if layer is self.coupled[-1] else 2.0) for layer in self.coupled]

    # All together (§2)

    def cost(self, batch: Rows, at: At, gibbs: Gibbs, decay: float) -> Terms:
        """Minus the variational bound on log p(v), up to the entropy, which is held: F of the data beside the mean
        field of the other even layers, less F of what chains arrive at."""
        with full_precision(batch.x.device):
            even = self.posterior(observed(batch.x, self.config.bits, at))
            divergence = contrastive_divergence(self.machine, even, at, gibbs)
            return {"divergence": divergence} | shrinking(decay, *(layer.weight for layer in self.coupled))

    @torch.no_grad()
    def posterior(self, v: Tensor) -> Tensor:
        """v and the means μ of the other even layers `[N, E]`: mean field (eq. 8), from a pass up through
        weights that are doubled but for the last, as each layer hears only from below."""
        machine, data = self.machine, v.shape[1]
        means = [v]
        for layer, share in self._upwards:
            means.append((share * means[-1] @ layer.weight + layer.bias).sigmoid())
        even = torch.cat(means[::2], dim=1)
        for _ in range(self.config.mean_field):
            odd = machine.drive(even).sigmoid()
            even = torch.cat([v, machine.expected(odd)[:, data:]], dim=1)
        return even

    # The verbs

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """E[v|h1] at the end of a Gibbs chain of `config.chain` steps of all layers from the base rates, as images `[n,
        C, H, W]` in [−1, 1]."""
        with evaluating(self):
            found = [self._sample(draws) for draws in parts(n, seed, start, self.device)]
            return torch.cat([self._shown(self.base_rates.expand(0, -1)), *found])

    def _sample(self, draws: Draws) -> Tensor:
        machine = in_float64(self.machine)
        first = bits(self.base_rates.double().sigmoid().expand(draws.n, -1), draws)
        h = sweep(machine, hidden_given(machine, first, draws), draws, self.config.chain - 1)
        return self._shown(machine.expected(h))

    def gibbs_of(self, x: Tensor, steps: int, draws: Draws) -> Tensor:
        """All layers' bits are drawn upwards from the data first, as the mean field starts (`posterior`)."""
        machine, drawn = in_float64(self.machine), [observed(x, self.config.bits, draws).double()]
        for layer, share in self._upwards:
            drive = torch.addmm(layer.bias.double(), drawn[-1], layer.weight.double(), alpha=share)
            drawn.append(bits(drive.sigmoid(), draws))
        odd = sweep(machine, torch.cat(drawn[1::2], 1), draws, steps - 1)
        return self._shown(machine.visible_given(odd, draws))

    def encode(self, x: Tensor) -> Tensor:
        """Mean-field probabilities of the first hidden layer, of the third, … `[N, J]` of data `[N, ...]`."""
        with evaluating(self):
            unit = brightness(self.checked(x), self.config.bits)
            return in_batches(lambda v: self.machine.drive(self.posterior(v)).sigmoid(), unit)

    def decode(self, z: Tensor) -> Tensor:
        """E[v|h1] as data `[N, ...]`, of the odd layers `[N, J]` or their probabilities."""
        with evaluating(self):
            return in_batches(lambda odd: self._shown(self.machine.expected(odd)), z.to(self.device))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encoded and decoded data `[N, ...]`."""
        return self.decode(self.encode(x))

    def filters(self) -> Tensor:
        """The weights of every unit of the first hidden layer `[H, C, H, W]`, each divided by its largest one."""
        return filters_of(self.coupled[0].weight, self.spec.image_shape)

    @property
    def annealed_machine(self) -> Machine:
        """The whole."""
        return self.machine

    @property
    def base_rates(self) -> Tensor:
        """The data's, as `prepare` saw them, and even rates of the other even layers."""
        return torch.cat([self.base, *(torch.zeros_like(bias) for bias in self.biases[2::2])])

    def unnormalised(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """The variational bound on log p(v) + log Z (eq. 7) in nats `[N]`: −F(v, μ) + H(μ), the odd layers summed out
        given the even ones' means. Bits are drawn once per row, from (seed, row)."""
        with evaluating(self):
            noise = Draws(len(x), seed=seed, start=start, device=self.device)
            return in_batches(self._bound, observed(self.checked(x), self.config.bits, noise))

    def _bound(self, v: Tensor) -> Tensor:
        even = self.posterior(v)
        means = even[:, v.shape[1] :]
        entropy = torch.special.entr(means) + torch.special.entr(1.0 - means)
        return entropy.sum(1) - self.machine.free_energy(even)

    def _shown(self, even: Tensor) -> Tensor:
        return shown_bits(even[:, : self.spec.numel], self.spec, self.base.dtype)
