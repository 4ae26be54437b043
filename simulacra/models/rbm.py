"""Restricted Boltzmann machine (Smolensky 1986), trained by contrastive divergence (Hinton 2002, "Training Products of
Experts by Minimizing Contrastive Divergence"; Hinton 2010, "A Practical Guide to Training Restricted Boltzmann
Machines", whose equations are cited in `networks/boltzmann.py`) or its persistent form (Tieleman 2008), and judged by
annealed importance sampling (Salakhutdinov & Murray 2008)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra.buffers import evaluating
from simulacra.data.spec import Spec
from simulacra.errors import UserError
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
from simulacra.networks.boltzmann import (
    AnyMachine,
    GaussianMachine,
    Machine,
    hidden_given,
    sweep,
)
from simulacra.precision import full_precision
from simulacra.randomness import Draws, Noise

SMALLEST = 0.1  # first deviation of a pixel, in units of the largest one: a stray dot would be far outside of less


class RBMConfig(BitsConfig):
    """What an RBM is made of."""

    hidden: int = Field(default=500, ge=1, description="hidden units")
    visible: Literal["bernoulli", "gaussian"] = Field(
        default="bernoulli", description="visible units: bits, or real values"
    )
    sigma: float = Field(
        default=1.0, gt=0, description="deviation of a Gaussian visible unit, in units of the data's own"
    )
    learned_sigma: bool = Field(default=True, description="whether these deviations are learned, from --sigma on")


class RBM(EnergyModel):
    """Visible units v, hidden units h, and weights between them alone."""

    name, Config = "rbm", RBMConfig
    config: RBMConfig
    tight = True
    base: Tensor
    sigma: Tensor

    def __init__(self, config: RBMConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.weight = nn.Parameter(0.01 * torch.randn(spec.numel, config.hidden))  # Hinton 2010, §8
        self.visible_bias = nn.Parameter(torch.zeros(spec.numel))
        self.hidden_bias = nn.Parameter(torch.zeros(config.hidden))
        self.register_buffer("base", torch.zeros(spec.numel))
        self.register_buffer("sigma", torch.ones(spec.numel))
        learned = config.visible == "gaussian" and config.learned_sigma
        self.log_scale = nn.Parameter(torch.zeros(spec.numel)) if learned else None

    @property
    def machine(self) -> AnyMachine:
        """Its parameters as a machine."""
        own = self.weight, self.visible_bias, self.hidden_bias
        if self.config.visible == "bernoulli":
            return Machine(*own)
        return GaussianMachine(*own, self.sigma if self.log_scale is None else self.sigma * self.log_scale.exp())

    @torch.no_grad()
    def prepare(self, x: Tensor) -> None:
        """Start from rows of the data `[N, ...]`: visible biases at the log-odds of its ones (Hinton 2010, §8), or at
        its means, with σ at its deviations times `config.sigma`, so that the machine is one of standardised data
        (§13.2); those of pixels are a tenth of the largest one at least. Raises UserError where real rows are all the
        same."""
        if self.config.visible == "bernoulli":
            unit = self.brightness(x)
            self.visible_bias.copy_(base_rate(unit, SMOOTHING))
            self.base.copy_(base_rate(unit))
            return
        values = x.flatten(1)
        deviation = values.std(0) if len(values) > 1 else torch.zeros_like(values[0])
        if not deviation.any():
            raise UserError(f"all {len(values):,} rows are the same: a machine of real values needs some that differ")
        self.visible_bias.copy_(values.mean(0))
        self.base.copy_(self.visible_bias)
        least = SMALLEST * deviation.max()
        raised = deviation < least if self.spec.kind == "image" else deviation == 0.0  # numbers have units of their own
        self.sigma.copy_(self.config.sigma * deviation.where(~raised, least))

    @property
    def sees(self) -> str | None:
        """Bits, but for Gaussian units."""
        return super().sees if self.config.visible == "bernoulli" else None

    # The objective

    def cost(self, batch: Rows, at: At, gibbs: Gibbs, decay: float) -> Terms:
        """F(v) − F(ṽ) `[N]`, ṽ after steps of Gibbs sampling from v, or of chains that go on from update to
        update; and ½ `decay` ‖W‖²."""
        with full_precision(batch.x.device):
            v = self.observed(batch.x, at)
            divergence = contrastive_divergence(self.machine, v, at, gibbs)
            return {"divergence": divergence} | shrinking(decay, self.weight)

    def observed(self, x: Tensor, noise: Noise) -> Tensor:
        """Visible units `[N, V]` of data `[N, ...]`."""
        return x.flatten(1) if self.config.visible == "gaussian" else observed(x, self.config.bits, noise)

    def brightness(self, x: Tensor) -> Tensor:
        """Expected visible units `[N, V]` of data `[N, ...]`."""
        return x.flatten(1) if self.config.visible == "gaussian" else brightness(x, self.config.bits)

    def shown(self, v: Tensor) -> Tensor:
        """Data `[N, ...]`, on the scale of the data spec, of visible units `[N, V]`."""
        dtype = self.weight.dtype
        if self.config.visible == "gaussian":
            return v.unflatten(1, self.spec.shape).to(dtype)
        return shown_bits(v, self.spec, dtype)

    # The verbs. Chains run in float64, so that a bit does not depend on the rows beside it.

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """What a Gibbs chain of `config.chain` steps from visible units of the base rates ends at: of bits E[v|h],
        images `[n, C, H, W]` in [−1, 1]; of real values v itself, drawn, `[n, ...]` without bounds. A chain that is not
        run for long remembers where it started."""
        with evaluating(self):
            found = [self._sample(draws) for draws in parts(n, seed, start, self.device)]
            return torch.cat([self.shown(self.base.expand(0, -1)), *found])

    def _sample(self, draws: Draws) -> Tensor:
        machine = in_float64(self.machine)
        nothing = machine.weight.new_zeros(draws.n, len(machine.hidden))
        first = machine._replace(visible=self.base.double()).visible_given(nothing, draws)
        h = hidden_given(machine, first, draws)
        h = sweep(machine, h, draws, self.config.chain - 1)
        real = self.config.visible == "gaussian"  # E[v|h] would lack the deviation σ, which is most of the data's
        return self.shown(machine.visible_given(h, draws) if real else machine.expected(h))

    def gibbs_of(self, x: Tensor, steps: int, draws: Draws) -> Tensor:
        """The first hidden units are drawn given the data."""
        machine = in_float64(self.machine)
        h = hidden_given(machine, self.observed(x, draws).double(), draws)
        return self.shown(machine.visible_given(sweep(machine, h, draws, steps - 1), draws))

    def encode(self, x: Tensor) -> Tensor:
        """p(h = 1|v) `[N, H]` of data `[N, ...]`, v being its brightness in [0, 1], or its values."""
        with evaluating(self):
            v = self.brightness(self.checked(x))
            return in_batches(lambda rows: self.machine.drive(rows).sigmoid(), v)

    def decode(self, z: Tensor) -> Tensor:
        """E[v|h] as data `[N, ...]`, of hidden units `[N, H]` or their probabilities."""
        with evaluating(self):
            return in_batches(lambda h: self.shown(self.machine.expected(h)), z.to(self.device))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encoded and decoded data `[N, ...]`: one step of mean field, without noise."""
        return self.decode(self.encode(x))

    def free_energy(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """F(v) `[N]` in nats, of data rows start … start+N−1. Bits are drawn once per row, from (seed, row)."""
        with evaluating(self):
            v = self.observed(self.checked(x), Draws(len(x), seed=seed, start=start, device=self.device))
            return in_batches(self.machine.free_energy, v)

    def unnormalised(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """−F(v) `[N]` = log p(v) + log Z."""
        return -self.free_energy(x, seed=seed, start=start)

    @property
    def annealed_machine(self) -> AnyMachine:
        """Itself."""
        return self.machine

    @property
    def base_rates(self) -> Tensor:
        """The data's, as `prepare` saw them."""
        return self.base

    def filters(self) -> Tensor:
        """The weights of every hidden unit `[H, C, H, W]`, each divided by its largest one."""
        return filters_of(self.weight, self.spec.image_shape)

    def checked(self, x: Tensor) -> Tensor:
        """As every machine's, but that real values have no limits."""
        return self.taken(x) if self.config.visible == "gaussian" else super().checked(x)
