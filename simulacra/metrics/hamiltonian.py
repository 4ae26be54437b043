"""log p(x) of models with a decoder, by annealed importance sampling over their latents with Hamiltonian transitions
(Wu, Burda, Salakhutdinov & Grosse 2017, "On the Quantitative Analysis of Decoder-Based Generative Models")."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import log
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from simulacra import config as settings
from simulacra.capabilities import HasLikelihood
from simulacra.errors import UserError
from simulacra.metrics.likelihood import of_all_rows
from simulacra.metrics.measure import Score, mean_score
from simulacra.metrics.of_model import ModelMeasure, Setting
from simulacra.randomness import key_of, sample_normal, sample_uniform

LogLikelihood = Callable[[Tensor], Tensor]
"""log p(x|z) `[N, C]` of latents `[N, C, J]`: C chains for each of N rows x."""
WISHED = 0.65
"""Acceptance at which Hamiltonian steps are about the right length (Neal 2011, §5.4.4)."""
PILOT, GROWTH = 10, 1.2
"""The pilot run passes one in so many temperatures, and its steps grow or shrink by this factor at each."""
ROWS_AT_A_TIME = 50
SELDOM = 0.3
STUCK = (
    "fewer than a third of the Hamiltonian trajectories were taken, so chains hardly moved and the value is far below "
    "log p(x): try a smaller --hais.rate, or more --hais.temperatures, over which the pilot run adapts it"
)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What the chains of data rows start … start+n−1 draw, temperature by temperature: a function of (seed, row,
    temperature). `draw` tells runs apart."""

    n: int
    chains: int
    latents: int
    seed: int
    start: int = 0
    draw: int = 0
    device: torch.device | str = "cpu"

    def normal(self, t: int) -> Tensor:
        """The momenta of the t-th trajectory, or the first latents (t = 0): `[n, C, J]`."""
        key = key_of(self.seed, self.draw, t)
        return sample_normal(self.n, self.chains, self.latents, seed=key, start=self.start).to(self.device)

    def uniform(self, t: int) -> Tensor:
        """What decides whether it is taken, `[n, C]`."""
        key = key_of(self.seed, self.draw, t)
        return sample_uniform(self.n, self.chains, seed=key, start=self.start, draw=1).to(self.device)


def sigmoidal(steps: int, spread: float = 4.0) -> list[float]:
    """`steps` + 1 inverse temperatures from 0 to 1, dense near both ends: a sigmoid of equally spaced numbers within
    ±`spread`, moved and stretched, as in the published evaluation of Wu et al. (2017)."""
    curve = torch.linspace(-spread, spread, steps + 1, dtype=torch.float64).sigmoid()
    return ((curve - curve[0]) / (curve[-1] - curve[0])).tolist()


class Fixed:
    """Lengths of a leapfrog step at each of T temperatures, `[N, T]`."""

    def __init__(self, rates: Tensor) -> None:
        self.rates = rates

    def at(self, t: int) -> Tensor:
        """Those of the t-th temperature, `[N, 1]`."""
        return self.rates[:, t : t + 1]

    def accepted(self, share: Tensor) -> None:
        """Nothing follows from how many trajectories of each row were taken."""


class Pilot:
    """The length for each row grows where more than `WISHED` of its trajectories are taken, and shrinks where fewer
    are: what is drawn meanwhile counts for nothing."""

    def __init__(self, first: Tensor) -> None:
        self.rate, self.used = first, []

    def at(self, t: int) -> Tensor:
        """`[N, 1]`."""
        self.used.append(self.rate)
        return self.rate

    def accepted(self, share: Tensor) -> None:
        """Adapt to the `share` `[N]` of trajectories that were taken."""
        self.rate = self.rate * torch.where(share[:, None] > WISHED, GROWTH, 1.0 / GROWTH)

    def stretched(self, temperatures: int) -> Fixed:
        """What was used, `PILOT` times over, for so many temperatures."""
        rates = torch.cat(self.used, 1)
        return Fixed(rates[:, (torch.arange(temperatures) // PILOT).clamp(max=rates.shape[1] - 1)])


class Annealed(NamedTuple):
    """What became of the chains: log weights, float64 `[N, C]`, and the share of trajectories taken, `[N]`."""

    log_weights: Tensor
    accepted: Tensor


def anneal(
    likelihood: LogLikelihood, betas: Sequence[float], noise: Noise, rates: Fixed | Pilot, leapfrogs: int
) -> Annealed:
    """Chains from N(0, I) along f_β(z) = N(z; 0, I) p(x|z)^β, at T + 1 inverse temperatures `betas` from 0 to 1. With
    fixed `rates` the mean of a row's weights is an unbiased estimate of p(x)."""
    z = noise.normal(0)
    state = State(z, *_with_gradient(likelihood, z))
    weights, shares = torch.zeros_like(state.value, dtype=torch.float64), torch.zeros_like(state.value[:, 0])
    for t, (before, beta) in enumerate(pairwise(betas)):
        weights += (beta - before) * state.value.double()
        draws = noise.normal(t + 1), noise.uniform(t + 1)
        state, taken = _hamiltonian(likelihood, state, beta, *draws, rates.at(t), leapfrogs)
        rates.accepted(taken.mean(1))
        shares += taken.mean(1) / (len(betas) - 1)
    return Annealed(weights, shares)


class State(NamedTuple):
    """Where chains are: z `[N, C, J]`, log p(x|z) `[N, C]` and its gradient."""

    z: Tensor
    value: Tensor
    slope: Tensor


def _hamiltonian(
    likelihood: LogLikelihood, state: State, beta: float, p: Tensor, u: Tensor, rate: Tensor, steps: int
) -> tuple[State, Tensor]:
    """A leapfrog trajectory with first momentum p, accepted or not (Neal 2011, §5.3.2): where it leaves the chains, and
    1.0 for those that it was accepted for, `[N, C]`."""
    z, value, slope = state
    length, energy = rate[..., None], _energy(z, value, beta, p)
    p = p - 0.5 * length * (z - beta * slope)
    for step in range(steps):
        z = z + length * p
        value, slope = _with_gradient(likelihood, z)
        p = p - (0.5 if step + 1 == steps else 1.0) * length * (z - beta * slope)
    taken = u.log() < energy - _energy(z, value, beta, p)
    wide = taken[..., None]
    z, slope = torch.where(wide, z, state.z), torch.where(wide, slope, state.slope)
    return State(z, torch.where(taken, value, state.value), slope), taken.to(z.dtype)


def _energy(z: Tensor, value: Tensor, beta: float, p: Tensor) -> Tensor:
    """−log f_β(z) and the momentum's energy, without their constants: `[N, C]`."""
    return 0.5 * (z.square() + p.square()).sum(2) - beta * value


def _with_gradient(likelihood: LogLikelihood, z: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = likelihood(z)
        slope = torch.autograd.grad(value.sum(), z)[0]
    return value.detach(), slope


class HamiltonianConfig(settings.Config):
    """How log p(x) is annealed to."""

    rows: int | None = Field(default=100, ge=2, description="test rows, the first ones (none: all)")
    temperatures: int = Field(default=2000, ge=PILOT, description="steps from the prior to the posterior")
    chains: int = Field(default=8, ge=2, description="chains for each row")
    leapfrogs: int = Field(default=10, ge=1, description="leapfrog steps of a trajectory")
    rate: float = Field(default=0.1, gt=0, description="length of a leapfrog step from which the pilot run starts")


class HamiltonianAIS(ModelMeasure):
    """Mean over test rows of log p(x) as annealed importance sampling over z estimates it, in nats per row: log of the
    mean weight of each row's chains, which is below log p(x) on average, and comes to it with longer annealing.

    A pilot run of other noise and a tenth of the temperatures finds, for each row, steps that `WISHED` of the
    trajectories accept; then they stay fixed, so that the weights are unbiased. The cost is that of rows · chains ·
    temperatures · leapfrogs gradients of the decoder, and a tenth of it for the pilot. `effective_chains` is the mean
    over rows of (Σw)²/Σw², `accepted` the share of trajectories that were taken.
    """

    name, better, capability = "hais", {"hais": "higher"}, HasLikelihood
    sides: ClassVar = {"real": "test"}
    Config = HamiltonianConfig
    config: HamiltonianConfig

    def compute(self, model: HasLikelihood, setting: Setting) -> dict[str, Score]:
        """The score. Raises UserError for fewer than two rows, or a value that is not finite."""

        def record(first: int, rows: Tensor) -> Tensor:
            parts = zip(rows.split(ROWS_AT_A_TIME), range(first, first + len(rows), ROWS_AT_A_TIME))
            return torch.cat([self.of_rows(model, part, setting.seed, start) for part, start in parts])

        records = of_all_rows(self.name, setting, self.config.rows, record)
        facts = {"effective_chains": records[:, 1].mean().item(), "accepted": records[:, 2].mean().item()}
        own = {name: getattr(self.config, name) for name in ("temperatures", "chains", "leapfrogs")}
        score = mean_score(records[:, 0], kind="estimate", **own, **facts, rows={"real": len(records)})
        return {"hais": replace(score, notes=() if facts["accepted"] > SELDOM else (STUCK,))}

    def of_rows(self, model: Any, x: Tensor, seed: int, start: int) -> Tensor:
        """log p(x), effective chains and accepted share of data rows start … start+N−1: float64 `[N, 3]`. Raises
        UserError where a weight is not finite."""
        config, likelihood = self.config, model.likelihood_of(x, seed=seed, start=start)
        few, many = sigmoidal(config.temperatures // PILOT), sigmoidal(config.temperatures)
        drawn = partial(
            Noise,
            n=len(x),
            chains=config.chains,
            latents=model.prior(1).shape[1],
            seed=seed,
            start=start,
            device=model.device,
        )
        pilot = Pilot(torch.full((len(x), 1), config.rate, device=model.device))
        anneal(likelihood, few, drawn(draw=0), pilot, config.leapfrogs)
        done = anneal(likelihood, many, drawn(draw=1), pilot.stretched(config.temperatures), config.leapfrogs)
        weights = done.log_weights.cpu()
        if not torch.isfinite(weights).all():
            raise UserError("hais: the likelihood of a row at draws of the prior is not finite: are the parameters?")
        total = weights.logsumexp(1)
        effective = (2.0 * total - (2.0 * weights).logsumexp(1)).exp()
        return torch.stack([total - log(config.chains), effective, done.accepted.double().cpu()], 1)
