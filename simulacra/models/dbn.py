"""Deep belief net (Hinton, Osindero & Teh 2006, "A Fast Learning Algorithm for Deep Belief Nets"): a restricted
Boltzmann machine between the two top layers, and below it layers that only generate, with a recognition model beside
them. Learned layer by layer (§4), then fine-tuned by the up-down algorithm (§5, appendix B); judged by the variational
bound, its log Z annealed (Salakhutdinov & Murray 2008)."""

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra.buffers import evaluating
from simulacra.config import Sizes
from simulacra.costs.reconstruction import bernoulli
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.metrics.ais import base_rate
from simulacra.models.base import in_batches
from simulacra.models.energy import (
    AT_A_TIME,
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
from simulacra.models.explaining import Layer, Posterior, chib_estimate, more_probable
from simulacra.networks.boltzmann import Machine, bits, contrast, hidden_given, sweep
from simulacra.precision import full_precision
from simulacra.randomness import Draws, Noise, key_of

DRAWS = 10  # of the hidden layers, behind a row's bound
ASCENTS = 5  # sweeps that make h* of what was recognised
FEW = 50  # rows whose units are visited together: what they drive stays in the cache


class DBNConfig(BitsConfig):
    """What a deep belief net is made of."""

    hidden: Sizes = Field(default=(500, 2000), min_length=2, description="units of the hidden layers, from below")


class Directed(nn.Module):
    """A layer h above v: p(v|h) = σ(b + hGᵀ), and its recognition q(h|v) = σ(a + vR).

    While they learn as a restricted Boltzmann machine, R and G are tied: equal, with equal gradients.
    """

    def __init__(self, visible: int, hidden: int) -> None:
        super().__init__()
        self.recognition = nn.Parameter(0.01 * torch.randn(visible, hidden))
        self.generation = nn.Parameter(self.recognition.detach().clone())
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    @property
    def tied(self) -> Machine:
        """The machine of R, which passes its gradient by R to G too, so that they stay equal under any optimiser that
        treats every number alike."""
        weight = self.recognition + (self.generation - self.generation.detach())
        return Machine(weight, self.visible_bias, self.hidden_bias)

    def up(self, v: Tensor) -> Tensor:
        """Logits of q(h = 1|v)."""
        return torch.addmm(self.hidden_bias, v, self.recognition)

    def down(self, h: Tensor) -> Tensor:
        """Logits of p(v = 1|h)."""
        return torch.addmm(self.visible_bias, h, self.generation.T)


class Top(nn.Module):
    """The restricted Boltzmann machine of the two top layers, and base rates of the lower one of them."""

    def __init__(self, visible: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.01 * torch.randn(visible, hidden))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.base = nn.Parameter(torch.zeros(visible))

    @property
    def machine(self) -> Machine:
        """Its parameters as a machine."""
        return Machine(self.weight, self.visible_bias, self.hidden_bias)


class DBN(EnergyModel):
    """p(v, h1, …, hL) = p(v|h1) … p(h_{L−2}|h_{L−1}) p(h_{L−1}, hL), the last factor a restricted Boltzmann machine."""

    name, Config = "dbn", DBNConfig
    config: DBNConfig
    tight = False

    def __init__(self, config: DBNConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        sizes = [*pairwise([spec.numel, *config.hidden])]
        self.layers = nn.ModuleList(Directed(*size) for size in sizes[:-1])
        self.top = Top(*sizes[-1])

    @property
    def directed(self) -> list[Directed]:
        """The layers below the top, from below."""
        return [layer for layer in self.layers if isinstance(layer, Directed)]

    @torch.no_grad()
    def prepare(self, x: Tensor) -> None:
        """Start the visible biases at the log-odds of the ones in rows of the data `[N, ...]`."""
        self.directed[0].visible_bias.copy_(base_rate(brightness(x, self.config.bits), SMOOTHING))

    # Layer by layer (§4)

    @torch.no_grad()
    def unroll(self, layer: int) -> None:
        """Start layer number `layer`, from 1, as the machine below it upside down: the net is that machine's law then,
        and what the layer gains by learning the bound gains (§4). Units beyond those that the machine has visible stay
        as they are; what they favour on average, the visible biases take back.

        Raises ValueError where the layer has fewer units than that."""
        lower, upper = self.directed[layer - 1], [*self.directed, self.top][layer]
        weights = [upper.weight] if isinstance(upper, Top) else [upper.recognition, upper.generation]
        size = len(lower.visible_bias)
        if len(upper.hidden_bias) < size:
            raise ValueError(f"layer {layer} has {len(upper.hidden_bias)} units for the {size} of the machine below it")
        for weight in weights:
            weight[:, :size] = lower.recognition.T
        upper.hidden_bias[:size] = lower.visible_bias
        upper.visible_bias.copy_(lower.hidden_bias - 0.5 * weights[0][:, size:].sum(1))

    def layer_cost(self, batch: Rows, at: At, layer: int, gibbs: Gibbs, decay: float) -> Terms:
        """The contrastive divergence of layer number `layer`, from 0, on what the layers below it make of the data;
        the last one's is the top."""
        with full_precision(batch.x.device):
            lower = self.recognised(observed(batch.x, self.config.bits, at), at, layer)
            machine = self.top.machine if layer == len(self.directed) else self.directed[layer].tied
            divergence = contrastive_divergence(machine, lower[-1], at, gibbs)
            return {"divergence": divergence} | shrinking(decay, machine.weight)

    def base_cost(self, batch: Rows, at: At) -> Terms:
        """`base`, −log p `[N]` of what the top's lower layer recognises in the data, under independent bits."""
        with full_precision(batch.x.device):
            v = observed(batch.x, self.config.bits, at)
            return {"base": self._base_rate_cost(self.recognised(v, at, len(self.directed))[-1])}

    @torch.no_grad()
    def recognised(self, v: Tensor, noise: Noise, layers: int) -> list[Tensor]:
        """v, h1 ~ q(h1|v), …, so many `layers`: bits `[N, units]`."""
        found = [v]
        for layer in self.directed[:layers]:
            found.append(bits(layer.up(found[-1]).sigmoid(), noise))
        return found

    def _base_rate_cost(self, h: Tensor) -> Tensor:
        """−log of the probability of h under independent bits `[N]`: the machine without weights that annealing starts
        from learns beside the other by maximum likelihood, and touches nothing else."""
        return bernoulli(self.top.base.expand_as(h), h)

    # Fine-tuning (§5)

    def up_down_cost(self, batch: Rows, at: At, gibbs: Gibbs) -> Terms:
        """The up-down algorithm (appendix B), all terms `[N]` in nats: `wake` fits p to what was recognised in data,
        `top` is the contrastive divergence of the top layers, `sleep` fits q to what then is generated from them."""
        with full_precision(batch.x.device):
            up = self.recognised(observed(batch.x, self.config.bits, at), at, len(self.directed))
            found = contrast(self.top.machine, up[-1], at, gibbs.steps(at.progress))
            down = self.generated(found.fantasy, at)
            wake = [bernoulli(layer.down(h), v) for layer, (v, h) in zip(self.directed, pairwise(up))]
            sleep = [bernoulli(layer.up(v), h) for layer, (v, h) in zip(self.directed, pairwise(down))]
            return {
                "wake": torch.stack(wake).sum(0),
                "top": found.divergence,
                "sleep": torch.stack(sleep).sum(0),
                "base": self._base_rate_cost(up[-1]),
            }

    @torch.no_grad()
    def generated(self, h: Tensor, noise: Noise) -> list[Tensor]:
        """v, h1, …, h_{L−1}: bits drawn downwards from h_{L−1} `[N, units]`."""
        found = [h]
        for layer in reversed(self.directed):
            found.insert(0, bits(layer.down(found[0]).sigmoid(), noise))
        return found

    # The verbs

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """E[v|h1] as images `[n, C, H, W]` in [−1, 1]: `config.chain` steps of Gibbs sampling in the top layers, from
        their base rates, and one pass down."""
        with evaluating(self):
            found = [self._sample(draws) for draws in parts(n, seed, start, self.device)]
            return torch.cat([self._shown(self.directed[0].visible_bias.expand(0, -1)), *found])

    def _sample(self, draws: Draws) -> Tensor:
        machine = in_float64(self.top.machine)
        first = bits(self.top.base.double().sigmoid().expand(draws.n, -1), draws)
        h = sweep(machine, hidden_given(machine, first, draws), draws, self.config.chain - 1)
        return self._shown(self._drawn_down(machine.visible_given(h, draws), draws))

    def _drawn_down(self, lower: Tensor, draws: Draws) -> Tensor:
        """p(v = 1|h1) in float64, the layers from h_{L−1} `[N, units]` down to h1 being drawn."""
        for layer in reversed(self.directed[1:]):
            lower = bits(_below(layer, lower), draws)
        return _below(self.directed[0], lower)

    def gibbs_of(self, x: Tensor, steps: int, draws: Draws) -> Tensor:
        """The chain is of the top layers, from what is recognised in the data on; a pass down follows."""
        machine, lower = in_float64(self.top.machine), observed(x, self.config.bits, draws).double()
        for layer in self.directed:
            lower = bits(_above(layer, lower), draws)
        h = sweep(machine, hidden_given(machine, lower, draws), draws, steps - 1)
        return self._shown(bits(self._drawn_down(machine.visible_given(h, draws), draws), draws))

    def encode(self, x: Tensor) -> Tensor:
        """Probabilities of the top units `[N, J]` of data `[N, ...]`, passed up as if they were bits."""
        with evaluating(self):
            unit = brightness(self.checked(x), self.config.bits)
            return in_batches(self._passed_up, unit)

    def _passed_up(self, v: Tensor) -> Tensor:
        for layer in self.directed:
            v = layer.up(v).sigmoid()
        return self.top.machine.drive(v).sigmoid()

    def decode(self, z: Tensor) -> Tensor:
        """Data `[N, ...]` of top units `[N, J]` or their probabilities, passed down likewise."""
        with evaluating(self):
            return in_batches(self._passed_down, z.to(self.device))

    def _passed_down(self, h: Tensor) -> Tensor:
        h = self.top.machine.expected(h)
        for layer in reversed(self.directed):
            h = layer.down(h).sigmoid()
        return self._shown(h)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encoded and decoded data `[N, ...]`."""
        return self.decode(self.encode(x))

    def filters(self) -> Tensor:
        """The weights by which the first hidden layer draws `[H, C, H, W]`, each divided by its largest one."""
        return filters_of(self.directed[0].generation, self.spec.image_shape)

    # Likelihoods

    @property
    def annealed_machine(self) -> Machine:
        """The top layers: what is below them is normalised."""
        return self.top.machine

    @property
    def base_rates(self) -> Tensor:
        """Those of h_{L−1} given data, learned while the top layers are."""
        return self.top.base.detach()

    def unnormalised(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """The variational bound on log p(v) + log Z (Salakhutdinov & Murray 2008, the section on deep belief nets) in
        nats `[N]`, as the mean over ten draws from q of log p(v, h) + log Z − log q(h|v)."""
        return self._weights(x, range(DRAWS), seed, start).mean(1)

    def log_weights(self, x: Tensor, samples: int, *, seed: int = 0, start: int = 0, first: int = 0) -> Tensor:
        """log p(v, h_k) − log q(h_k|v) `[N, samples]` of data rows start … start+N−1 and k = first … first+samples−1,
        in nats, for the bits of `log_prob`, with its log Z."""
        return self._weights(x, range(first, first + samples), seed, start) - self.partition(seed=seed).value

    def chib(self, x: Tensor, sweeps: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """log of an unbiased estimate of p(v) Z of data rows start … start+N−1, in nats `[N]`, for the bits of
        `log_prob`: below log p(v) + log Z on average, the less the more `sweeps` (Murray & Salakhutdinov 2009). h* is
        what is recognised in v, made more probable unit by unit. Takes a second a row for 64 sweeps of 500 units."""
        with evaluating(self):
            x, firsts = self.checked(x), range(start, start + max(len(x), 1), FEW)
            return torch.cat([self._chib(rows, sweeps, seed, at) for rows, at in zip(x.split(FEW), firsts)])

    def _chib(self, x: Tensor, sweeps: int, seed: int, start: int) -> Tensor:
        noise = Draws(len(x), seed=seed, start=start, device=self.device)
        v = observed(x, self.config.bits, noise)
        layers = [Layer(layer.generation.double(), layer.visible_bias.double()) for layer in self.directed]
        posterior = Posterior(layers, in_float64(self.top.machine), v.double())
        onto = posterior.state([h.double() for h in self.recognised(v, noise, len(layers))[1:]])
        for _ in range(ASCENTS):
            posterior.sweep(onto, more_probable)
        return chib_estimate(posterior, onto, sweeps, noise)

    def _weights(self, x: Tensor, ks: range, seed: int, start: int) -> Tensor:
        with evaluating(self):
            x, firsts = self.checked(x), range(start, start + max(len(x), 1), AT_A_TIME)
            return torch.cat([self._weights_of(rows, ks, seed, at) for rows, at in zip(x.split(AT_A_TIME), firsts)])

    def _weights_of(self, x: Tensor, ks: range, seed: int, start: int) -> Tensor:
        v = observed(x, self.config.bits, Draws(len(x), seed=seed, start=start, device=self.device))
        each = (Draws(len(x), seed=key_of(seed, k), start=start, device=self.device) for k in ks)
        return torch.stack([self._weight(v, draws) for draws in each], dim=1)

    def _weight(self, v: Tensor, noise: Noise) -> Tensor:
        """Σ log p(h_l|h_{l+1}) − F(h_{L−1}) − Σ log q(h_{l+1}|h_l) `[N]` at h ~ q(h|v), h_0 = v."""
        up = self.recognised(v, noise, len(self.directed))
        steps = [*zip(self.directed, pairwise(up))]
        fits = [bernoulli(layer.up(v), h) - bernoulli(layer.down(h), v) for layer, (v, h) in steps]
        return torch.stack(fits).sum(0) - self.top.machine.free_energy(up[-1])

    def _shown(self, v: Tensor) -> Tensor:
        return shown_bits(v, self.spec, self.top.weight.dtype)


def _above(layer: Directed, v: Tensor) -> Tensor:
    """q(h = 1|v) in float64."""
    return torch.addmm(layer.hidden_bias.double(), v, layer.recognition.double()).sigmoid()


def _below(layer: Directed, h: Tensor) -> Tensor:
    """p(v = 1|h) in float64."""
    return torch.addmm(layer.visible_bias.double(), h, layer.generation.double().T).sigmoid()
