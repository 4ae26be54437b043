"""Annealed importance sampling (Neal 2001): the partition function of a density that is known up to a factor; and of
restricted Boltzmann machines, as Salakhutdinov & Murray (2008) estimate it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite, log, pi
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from simulacra.capabilities import KindOfLogProb
from simulacra.errors import UserError
from simulacra.randomness import generator

S = TypeVar("S")
LARGEST = 25  # units of a layer that is enumerated
CONFIGURATIONS_AT_A_TIME = 4096


class Path(Protocol[S]):
    """Unnormalised densities f_β over states `S` of many chains, from one with a known partition function at β = 0 to
    the one of interest at β = 1.

    Attributes:
        device: where its states are.
        log_base: log Z of f_0.
    """

    device: torch.device
    log_base: float

    def start(self, chains: int, generator: torch.Generator) -> S:
        """Independent exact draws from f_0 / Z_0."""
        ...

    def log_density(self, state: S, beta: float) -> Tensor:
        """log f_β of every chain's state: `[chains]`."""
        ...

    def transition(self, state: S, beta: float, generator: torch.Generator) -> S:
        """The states after a Markov transition that leaves f_β / Z_β invariant."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class LogZ:
    """An estimate of log Z.

    Attributes:
        value: log of the unbiased estimate Ẑ = Z_0 · (mean of the chains' weights).
        standard_error: of `value`, by the delta method: s/(√M w̄), s the standard deviation of the M weights, w̄ their
            mean. It trusts the weights that were seen: where `effective_chains` is a few, it is too small.
        low: log(Ẑ − 3 σ̂), σ̂ = Z_0 s/√M; −∞ where that is not positive.
        high: log(Ẑ + 3 σ̂).
        effective_chains: (Σw)²/Σw².
        log_weights: float64 `[M]`, log of the weights, without log Z_0.
    """

    value: float
    standard_error: float
    low: float
    high: float
    effective_chains: float
    log_weights: Tensor

    @property
    def is_exact(self) -> bool:
        """Whether it is no estimate."""
        return self.standard_error == 0.0

    def kind(self, *, tight: bool) -> KindOfLogProb:
        """What log p(x) is by it, with log p(x) + log Z known (`tight`), or a lower bound on that: a bound less an
        estimate is none for sure."""
        if self.is_exact:
            return "exact" if tight else "bound"
        return "estimate" if tight else "estimated bound"

    def facts(self) -> dict[str, float | bool]:
        """What a reader of scores must know of it, in JSON's types."""
        if self.is_exact:
            return {"log_z": self.value, "log_z_exact": True}
        told = {"log_z": self.value, "log_z_standard_error": self.standard_error}
        told |= {"log_z_low": self.low} if isfinite(self.low) else {}
        return told | {"log_z_high": self.high, "effective_chains": self.effective_chains}


def annealed(path: Path[S], betas: Sequence[float], chains: int, seed: int = 0) -> LogZ:
    """log Z of `path` at β = 1 from `chains` runs along `betas`, which ascend from 0 to 1.

    All noise comes from one generator of `seed`, in joint draws for all chains: the result is a function of (path,
    betas, chains, seed), equal on every rank. Runs of other seeds are joined by `summary` of their weights together.

    Raises:
        UserError: `betas` do not ascend from 0 to 1, there are fewer than two chains, or a weight is not finite.
    """
    if chains < 2 or len(betas) < 2 or betas[0] != 0 or betas[-1] != 1 or any(a >= b for a, b in pairwise(betas)):
        raise UserError("annealed importance sampling needs two chains or more, and betas that ascend from 0 to 1")
    noise = generator(path.device, seed)
    state = path.start(chains, noise)
    weights = torch.zeros(chains, dtype=torch.float64)
    for before, beta in pairwise(betas):
        # Neal 2001, §2: the weight is the product of f_β(x)/f_β'(x) over successive β' < β, x drawn at β'.
        weights += (path.log_density(state, beta) - path.log_density(state, before)).double().cpu()
        if beta < 1:
            state = path.transition(state, beta, noise)
    if not torch.isfinite(weights).all():
        raise UserError("annealed importance sampling: a chain's weight is not finite: are the parameters?")
    return summary(path.log_base, weights)


def summary(log_base: float, log_weights: Tensor) -> LogZ:
    """The estimate from the chains' `log_weights` `[M]`, M > 1, and the log Z at β = 0."""
    most = log_weights.max()
    weights = (log_weights.double() - most).exp()
    mean, error = weights.mean().item(), weights.std().item() / len(weights) ** 0.5
    scale = log_base + most.item()
    return LogZ(
        value=scale + log(mean),
        standard_error=error / mean,
        low=scale + log(mean - 3 * error) if mean > 3 * error else -inf,
        high=scale + log(mean + 3 * error),
        effective_chains=(weights.sum().square() / weights.square().sum()).item(),
        log_weights=log_weights,
    )


def paper_betas() -> list[float]:
    """The schedule of Salakhutdinov & Murray's demonstration: 0 : .001 : .5, .5 : .0001 : .9, .9 : .00001 : 1, which
    are 14 501 values and 14 500 steps."""
    first, second = range(0, 50_000, 100), range(50_000, 90_000, 10)
    return [k / 100_000 for part in (first, second, range(90_000, 100_001)) for k in part]


class Visible(NamedTuple):
    """Bits v `[chains, V]` of an RBM's visible units, and what its hidden units get from them, vW + a `[chains, H]`."""

    bits: Tensor
    drive: Tensor


class RBMPath:
    """From a base-rate RBM without weights, of visible biases b_A, to the Bernoulli RBM of energy −vᵀWh − bᵀv − aᵀh
    (Salakhutdinov & Murray 2008, the section on the ratio of two RBMs' partition functions), hidden units summed out:
    log f_β(v) = (1 − β) b_A·v + β b·v + Σ_j log(1 + exp β(vᵀW_j + a_j)), and β of the hidden units of the base RBM,
    which no weight joins to v, are left out.

    Computed in float64, on the device of the weights.

    Args:
        weights: W `[V, H]`.
        visible_bias: b `[V]`.
        hidden_bias: a `[H]`.
        base_bias: b_A `[V]`, as `base_rate` finds it; zeros, a uniform start, where left out.
    """

    def __init__(
        self, weights: Tensor, visible_bias: Tensor, hidden_bias: Tensor, base_bias: Tensor | None = None
    ) -> None:
        base = torch.zeros_like(visible_bias) if base_bias is None else base_bias
        self.weights, self.base = weights.detach().double(), base.detach().double()
        self.visible_bias, self.hidden_bias = visible_bias.detach().double(), hidden_bias.detach().double()
        self.device = weights.device
        self.log_base = (_softplus(self.base).sum() + len(self.hidden_bias) * log(2)).item()

    def at(self, bits: Tensor) -> Visible:
        """The state of visible units `bits` `[chains, V]`, zeros and ones: `log_density(path.at(v), 1.0)` is log p(v)
        + log Z."""
        bits = bits.to(self.weights)
        return Visible(bits, torch.addmm(self.hidden_bias, bits, self.weights))

    def start(self, chains: int, generator: torch.Generator) -> Visible:
        """Independent bits of the base rates."""
        return self.at(_bits(self.base.expand(chains, -1), generator))

    def log_density(self, state: Visible, beta: float) -> Tensor:
        """log f_β `[chains]`."""
        biases = (1.0 - beta) * self.base + beta * self.visible_bias
        return state.bits @ biases + _softplus(beta * state.drive).sum(1)

    def transition(self, state: Visible, beta: float, generator: torch.Generator) -> Visible:
        """A sweep of Gibbs sampling: hidden units given visible ones, and back."""
        hidden = _bits(beta * state.drive, generator)
        biases = (1.0 - beta) * self.base + beta * self.visible_bias
        return self.at(_bits(torch.addmm(biases, hidden, self.weights.T, alpha=beta), generator))


class Real(NamedTuple):
    """Values v `[chains, V]` of a Gaussian RBM's visible units, and what its hidden units get, (v/σ)W + a `[chains,
    H]`."""

    values: Tensor
    drive: Tensor


class GaussianRBMPath:
    """From independent Gaussians N(b_A, diag σ²) to the Gaussian RBM of energy Σ_i (v_i − b_i)² / 2σ_i² − (v/σ)ᵀWh −
    aᵀh (Hinton 2010, eq. 17), hidden units summed out: log f_β(v) = −(1 − β) Σ_i (v_i − b_Ai)² / 2σ_i² − β Σ_i (v_i −
    b_i)² / 2σ_i² + Σ_j log(1 + exp β((v/σ)ᵀW_j + a_j)).

    Computed in float64, on the device of the weights.

    Args:
        weights: W `[V, H]`.
        visible_bias: b `[V]`.
        hidden_bias: a `[H]`.
        sigma: σ `[V]`.
        base_bias: b_A `[V]`; b where left out.
    """

    def __init__(
        self, weights: Tensor, visible_bias: Tensor, hidden_bias: Tensor, sigma: Tensor, base_bias: Tensor | None = None
    ) -> None:
        parts = weights, visible_bias, hidden_bias, sigma, visible_bias if base_bias is None else base_bias
        self.weights, self.mean, self.hidden_bias, self.sigma, self.base = (p.detach().double() for p in parts)
        self.device = weights.device
        self.log_base = _log_normaliser(self.sigma) + len(self.hidden_bias) * log(2)

    def at(self, values: Tensor) -> Real:
        """The state of visible units `values` `[chains, V]`: `log_density(path.at(v), 1.0)` is log p(v) + log Z."""
        values = values.to(self.weights)
        return Real(values, torch.addmm(self.hidden_bias, values / self.sigma, self.weights))

    def start(self, chains: int, generator: torch.Generator) -> Real:
        """Independent Gaussians around b_A."""
        return self.at(_normal(self.base.expand(chains, -1), self.sigma, generator))

    def log_density(self, state: Real, beta: float) -> Tensor:
        """log f_β `[chains]`."""
        far, near = (((state.values - m) / self.sigma).square().sum(1) for m in (self.base, self.mean))
        return -0.5 * ((1.0 - beta) * far + beta * near) + _softplus(beta * state.drive).sum(1)

    def transition(self, state: Real, beta: float, generator: torch.Generator) -> Real:
        """A sweep of Gibbs sampling. Given h, completing the square leaves N((1 − β) b_A + β (b + σ Wh), diag σ²)."""
        hidden = _bits(beta * state.drive, generator)
        mean = (1.0 - beta) * self.base + beta * (self.mean + self.sigma * (hidden @ self.weights.T))
        return self.at(_normal(mean, self.sigma, generator))


def _normal(mean: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """Draws from N(`mean`, diag `sigma`²)."""
    return mean + sigma * torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)


def _log_normaliser(sigma: Tensor) -> float:
    """log ∫ exp(−Σ v_i²/2σ_i²) dv."""
    return (sigma.log() + 0.5 * log(2 * pi)).sum().item()


def _bits(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Independent bits that are one with probability sigmoid(`logits`)."""
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=logits.dtype)
    return (uniform < logits.sigmoid()).to(logits.dtype)


def base_rate(data: Tensor, smoothing: float = 0.05) -> Tensor:
    """Visible biases `[V]` of the base-rate RBM: logits of the rates of ones in `data` `[N, V]`, zeros and ones, drawn
    towards ½ by the share `smoothing`, so that no bit is certain."""
    rates = (1.0 - smoothing) * data.double().mean(0) + 0.5 * smoothing
    return rates.logit()


def exact_log_z(weights: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> float:
    """log Z of a Bernoulli RBM, by enumeration of its smaller layer and the other one summed out.

    In float64, 4096 configurations at a time; n units take 2ⁿ · V · H multiplications.

    Raises:
        UserError: the smaller layer has more than 25 units.
    """
    if len(hidden_bias) > len(visible_bias):
        return exact_log_z(weights.T, hidden_bias, visible_bias)
    if len(hidden_bias) > LARGEST:
        raise UserError(f"exact log Z: {len(hidden_bias)} units are too many to enumerate (at most {LARGEST}): use AIS")
    w, b, a = (part.detach().double() for part in (weights, visible_bias, hidden_bias))
    blocks = [(h @ a + _softplus(b + h @ w.T).sum(1)).logsumexp(0) for h in _configurations(len(a), a.device)]
    return torch.stack(blocks).logsumexp(0).item()


def exact_gaussian_log_z(weights: Tensor, visible_bias: Tensor, hidden_bias: Tensor, sigma: Tensor) -> float:
    """log Z of a Gaussian RBM, its hidden units enumerated and v integrated out: log Σ_h exp(aᵀh + bᵀ(Wh/σ) + ½‖Wh‖²) +
    Σ_i log √(2π) σ_i. In float64, as `exact_log_z`.

    Raises:
        UserError: more than 25 hidden units.
    """
    if len(hidden_bias) > LARGEST:
        raise UserError(f"exact log Z: {len(hidden_bias)} units are too many to enumerate (at most {LARGEST}): use AIS")
    w, b, a, s = (part.detach().double() for part in (weights, visible_bias, hidden_bias, sigma))
    pulls = ((h, h @ w.T) for h in _configurations(len(a), a.device))
    blocks = [(h @ a + pull @ (b / s) + 0.5 * pull.square().sum(1)).logsumexp(0) for h, pull in pulls]
    return torch.stack(blocks).logsumexp(0).item() + _log_normaliser(s)


def known(log_z: float) -> LogZ:
    """A log Z that is no estimate."""
    nothing = torch.zeros(0, dtype=torch.float64)
    return LogZ(value=log_z, standard_error=0.0, low=log_z, high=log_z, effective_chains=inf, log_weights=nothing)


def _configurations(units: int, device: torch.device) -> Iterator[Tensor]:
    """All patterns of `units` bits, in blocks: float64 `[B, units]`."""
    places = torch.arange(units, device=device)
    for first in range(0, 2**units, CONFIGURATIONS_AT_A_TIME):
        numbers = torch.arange(first, min(first + CONFIGURATIONS_AT_A_TIME, 2**units), device=device)
        yield ((numbers[:, None] >> places) & 1).double()


def _softplus(x: Tensor) -> Tensor:
    """log(1 + eˣ), to the last bit of float64."""
    return softplus(x, threshold=40.0)
