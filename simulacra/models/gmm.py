"""Gaussian mixture (Dempster, Laird & Rubin 1977, "Maximum Likelihood from Incomplete Data via the EM Algorithm";
Bishop 2006, "Pattern Recognition and Machine Learning", §9.2, whose equations are cited), by passes over all data or
batch by batch (Cappé & Moulines 2009, "On-line Expectation-Maximization Algorithm for Latent Data Models").
"""

from collections.abc import Mapping
from math import log, pi
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.capabilities import LogProb
from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model, in_batches
from simulacra.models.covariances import COVARIANCES, Covariance, CovarianceKind

TILE = 2048
"""Rows that are worked on at a time on a CPU: their differences from a mean stay in its cache."""
NEGLIGIBLE = 1e-20
"""A responsibility below this is lost in the rounding of the sums: the row is left out of the component's."""
EMPTY = 0.01
"""A component that has fewer rows than this is empty."""


class GMMConfig(Config):
    """What a Gaussian mixture is made of."""

    components: int = Field(default=10, ge=1, description="K, number of Gaussians")
    covariance: CovarianceKind = Field(
        default="full", description="covariances: full, one for all, diagonal or spherical"
    )
    dtype: Literal["float32", "float64"] = Field(
        default="float64", description="precision of parameters and statistics"
    )


class GMM(Model):
    """p(x) = Σ_k π_k N(x; μ_k, Σ_k) (eq. 9.7), of vectors or of images as rows of numbers in [−1, 1]."""

    name, Config = "gmm", GMMConfig
    config: GMMConfig

    def __init__(self, config: GMMConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        k, d, dtype = config.components, spec.numel, getattr(torch, config.dtype)
        self.weights = nn.Parameter(torch.full((k,), 1.0 / k, dtype=dtype))
        self.means = nn.Parameter(torch.zeros(k, d, dtype=dtype))
        self.factor = nn.Parameter(self.covariance.unit(k, d).to(dtype).clone(memory_format=torch.contiguous_format))

    @property
    def covariance(self) -> Covariance:
        """The kind of its covariances; `factor` holds their precision factors."""
        return COVARIANCES[self.config.covariance]

    @property
    def covariances(self) -> Tensor:
        """Σ: `[K, D, D]` full, `[D, D]` tied, `[K, D]` diagonal, `[K]` spherical."""
        return self.covariance.covariances(self.factor.detach())

    @property
    def degrees_of_freedom(self) -> int:
        """Free parameters: K − 1 weights, K D numbers of means, and those of the covariances."""
        k, d = self.means.shape
        return k - 1 + k * d + self.covariance.numbers(k, d)

    def flat(self, x: Tensor) -> Tensor:
        """Rows `[N, ...]` as `[N, D]` in the precision of the parameters, where they are."""
        return self.taken(x).flatten(1)

    def joint(self, x: Tensor) -> Tensor:
        """log π_k + log N(x; μ_k, Σ_k) `[N, K]` of flat rows `[N, D]`, in nats."""
        kind, d, centre = self.covariance, x.shape[1], self.means.mean(0)
        squares = kind.squares(self.factor, x - centre, self.means - centre)
        constants = self.weights.log() + kind.log_determinants(self.factor, d) - 0.5 * d * log(2 * pi)
        return constants - 0.5 * squares.T

    # The verbs

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Rows start … start+n−1, float32 `[n, ...]`, ancestrally: first the component, then a draw from its Gaussian.
        Nothing bounds the pixels of images."""
        which = self.components(n, seed=seed, start=start).to(self.device)
        noise = randomness.sample_normal(n, self.spec.numel, seed=seed, start=start, draw=1).to(self.means)
        x = self.means.detach()[which]
        with torch.no_grad():
            for k in which.unique().tolist():
                rows = which == k
                x[rows] += self.covariance.coloured(self.covariance.of(self.factor, k), noise[rows])
        return x.float().view(n, *self.spec.shape)

    def components(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """The components int64 `[n]` that samples start … start+n−1 are drawn from, a function of (seed, i)."""
        return randomness.sample_categorical(self.weights, n, seed=seed, start=start)

    def log_prob(self, x: Tensor, *, seed: int = 0, start: int = 0) -> LogProb:
        """log p(x) `[N]`, exact, in nats: a density in the units of the rows."""
        with evaluating(self):
            return LogProb(in_batches(lambda rows: self.joint(self.flat(rows)).logsumexp(1), x, TILE), "exact")

    def encode(self, x: Tensor) -> Tensor:
        """Responsibilities p(k|x) `[N, K]` (eq. 9.13) of data `[N, ...]`."""
        with evaluating(self):
            return in_batches(lambda rows: self.joint(self.flat(rows)).softmax(1), x, TILE)

    def centres(self) -> Tensor:
        """The components' means, float32 `[K, ...]` on the scale of the data spec."""
        return self.means.detach().float().view(-1, *self.spec.shape)

    def aic(self, x: Tensor) -> float:
        """Akaike's criterion (1974) of data `[N, ...]`: −2 log p(x) + 2 p, p the free parameters; lower is better."""
        return -2.0 * self.log_prob(x).value.sum().item() + 2.0 * self.degrees_of_freedom

    def bic(self, x: Tensor) -> float:
        """The Bayesian criterion (Schwarz 1978) of data `[N, ...]`: −2 log p(x) + p log N; lower is better."""
        return -2.0 * self.log_prob(x).value.sum().item() + log(len(x)) * self.degrees_of_freedom


# How it learns


class Moments(NamedTuple):
    """Per row of the data: the components' shares `[K]`, and their first `[K, D]` and second moments (as the kind of
    covariance has them) about the means as they are."""

    counts: Tensor
    first: Tensor
    second: Tensor

    def towards(self, other: "Moments", rate: float) -> "Moments":
        """(1 − γ) of these and γ of the others."""
        return Moments(*(torch.lerp(own, new, rate) for own, new in zip(self, other)))


class ExpectationMaximisation:
    """EM of a mixture as a closed-form move: `expect` on every batch, `maximise` at the end of a pass.

    With `power` α it is stepwise instead, and `maximise` is due after every batch: the statistics move by
    γ_t = (t + 2)^(−α), ½ < α ≤ 1, towards those of the batch (Cappé & Moulines 2009, §2.2). Those of a mixture follow
    from its parameters, the M step being invertible, so that no memory but these is needed.

    What is mended, and told of in the terms:
        floored: directions in which a covariance was below `floor` and is raised to it. (Of all covariances that are
            nowhere below the floor that is the likeliest, so the likelihood still never falls.)
        replaced: components with less than a hundredth of a row, each put anew: the heaviest one is split in two, one
            standard deviation to both sides along its widest direction. The likelihood may fall by that.
    """

    def __init__(self, model: GMM, floor: float, power: float | None = None) -> None:
        self.model, self.floor, self.power = model, floor, power

    @torch.no_grad()
    def expect(self, batch: Rows, at: At) -> Mapping[str, Tensor]:
        """The E step: log-likelihood, counts and moments of the rows by their responsibilities (eq. 9.13)."""
        x = self.model.flat(batch.x)
        tiles = x.split(TILE if x.device.type == "cpu" else max(len(x), 1))
        parts = [self._expect(tile) for tile in tiles]
        sums = {name: torch.stack([part[name] for part in parts]).sum(0) for name in parts[0]}
        return sums | {"rows": x.new_tensor(len(x)), "time": x.new_tensor(len(x) * at.clock.step)}

    def _expect(self, x: Tensor) -> dict[str, Tensor]:
        kind, joint, means = self.model.covariance, self.model.joint(x), self.model.means
        evidence = joint.logsumexp(1)
        shares = (joint - evidence[:, None]).exp_().T.contiguous()
        counts, centre, second = shares.sum(1), means.mean(0), []
        for mean, share in zip(means, shares):
            rows, weights = weighty(x, share)
            second.append(kind.moment(rows - mean, weights))
        first = shares @ (x - centre) - counts[:, None] * (means - centre)
        return {
            "log_likelihood": evidence.sum(),
            "counts": counts,
            "first": first,
            "second": kind.joined(second),
        }

    @torch.no_grad()
    def maximise(self, sums: Mapping[str, Tensor]) -> Terms:
        """The M step. Terms: the log-likelihood per row, in nats, of the parameters as they were, AIC and BIC of them
        where all rows were seen, and what was mended."""
        rows = sums["rows"]
        found = Moments(*(sums[name] / rows for name in ("counts", "first", "second")))
        if self.power is not None:
            rate = (sums["time"] / rows + 2.0).item() ** -self.power
            found = self.moments().towards(found, rate)
        criteria = self._criteria(sums["log_likelihood"], rows) if self.power is None else {}
        terms = {"log_likelihood": sums["log_likelihood"] / rows, **criteria}
        return {**terms, **self.settle(found, rows.item())}

    def moments(self) -> Moments:
        """Those that the parameters are the M step of."""
        model = self.model
        covariances = model.covariance.covariances(model.factor)
        of_one = model.covariance.estimated(torch.ones_like(covariances), model.weights, model.spec.numel)
        return Moments(model.weights.clone(), torch.zeros_like(model.means), covariances / of_one)

    def _criteria(self, log_likelihood: Tensor, rows: Tensor) -> Terms:
        p = self.model.degrees_of_freedom
        return {"aic": 2.0 * p - 2.0 * log_likelihood, "bic": p * rows.log() - 2.0 * log_likelihood}

    @torch.no_grad()
    def settle(self, found: Moments, rows: float) -> Terms:
        """Set weights, means and covariances to those of largest likelihood given the moments of so many rows
        (eqs. 9.24 to 9.27); the terms tell what was mended."""
        model, kind, d = self.model, self.model.covariance, self.model.spec.numel
        empty = found.counts * rows < EMPTY
        counts = found.counts.clamp_min(torch.finfo(found.counts.dtype).tiny)
        shift = torch.where(empty[:, None], 0.0, found.first / counts[:, None])
        about_means = found.second - kind.moments(shift, found.counts)
        covariance = kind.estimated(about_means, counts, d)
        covariance, raised = kind.floored(covariance, self.floor)
        model.weights.copy_(found.counts / found.counts.sum())
        model.means.add_(shift)
        model.factor.copy_(kind.factored(covariance))
        for k in empty.nonzero().flatten().tolist():
            self._replace(k)
        return {"floored": raised, "replaced": empty.sum().to(raised)}

    def _replace(self, k: int) -> None:
        """Put component k in place of one half of the heaviest one."""
        model, kind = self.model, self.model.covariance
        heaviest = int(model.weights.argmax())
        step = kind.widest(kind.of(model.factor, heaviest), model.spec.numel)
        model.means[k] = model.means[heaviest] + step
        model.means[heaviest] -= step
        model.weights[[k, heaviest]] = 0.5 * (model.weights[k] + model.weights[heaviest])
        kind.of(model.factor, k).copy_(kind.of(model.factor, heaviest))


class KMeansPlusPlus:
    """A start for EM from one batch, as a closed-form move: `gather` its rows, at most `most` of them, and `start`.

    Centres are rows, each drawn with probability in proportion to its squared distance from the nearest centre so far
    (Arthur & Vassilvitskii 2007, §2.2). Means are the centres' cells', weights the cells' shares, and the covariance of
    the rows about their means, over all cells, is that of every component.
    """

    def __init__(self, em: ExpectationMaximisation, most: int) -> None:
        self.em, self.model, self.most = em, em.model, most

    def gather(self, batch: Rows, at: At) -> Mapping[str, Tensor]:
        """The joint batch's rows and noise, zeros where another rank or micro-batch has them: their sum is all."""
        x = self.model.flat(batch.x)
        u = at.uniform(len(self.model.means)).to(x)
        return {"rows": self._placed(x, batch), "noise": self._placed(u, batch)}

    def _placed(self, own: Tensor, batch: Rows) -> Tensor:
        joint = own.new_zeros(min(batch.joint, self.most), own.shape[1])
        fitting = own[: max(len(joint) - batch.start, 0)]
        joint[batch.start : batch.start + len(fitting)] = fitting
        return joint

    @torch.no_grad()
    def start(self, sums: Mapping[str, Tensor]) -> Terms:
        """Set the mixture. Terms: the mean squared distance of rows from their centres. Raises UserError where there
        are fewer distinct rows than components."""
        x, kind = sums["rows"], self.model.covariance
        centres = x[k_means_plus_plus(x, sums["noise"])]
        squares = torch.stack([(x - centre).square().sum(1) for centre in centres])
        least, cell = squares.min(0)
        shares = torch.nn.functional.one_hot(cell, len(centres)).T.to(x)
        counts = shares.sum(1)
        self.model.means.copy_((shares @ x) / counts[:, None])
        about = [kind.moment(x - mean, share) for mean, share in zip(self.model.means, shares)]
        pooled = torch.stack(about).sum(0) / len(x)
        counts = counts / len(x)
        second = kind.joined([pooled * count for count in counts])
        terms = self.em.settle(Moments(counts, torch.zeros_like(self.model.means), second), len(x))
        return {"squared_distance": least.mean(), **terms}


def weighty(x: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of x `[N, D]` whose `share` `[N]` is not negligible, and these shares: often few, as rows mostly belong
    to one component."""
    near = (share > NEGLIGIBLE).nonzero().flatten()
    return (x, share) if len(near) == len(x) else (x.index_select(0, near), share.index_select(0, near))


def k_means_plus_plus(x: Tensor, noise: Tensor) -> list[int]:
    """The numbers of K rows of x `[N, D]` as centres, from uniform noise `[N, K]`: the first at random, the others each
    with probability D(x)²/Σ D(x)² (Arthur & Vassilvitskii 2007, §2.2, steps 1a and 1b).

    A row wins if its exponential time −log(u)/D² is the shortest, which happens with just that probability. Raises
    UserError where there are fewer than K distinct rows.
    """
    times = -noise.log()
    chosen = [int(times[:, 0].argmin())]
    nearest = (x - x[chosen[0]]).square().sum(1)
    for k in range(1, noise.shape[1]):
        if not nearest.max() > 0:
            raise UserError(
                f"{noise.shape[1]} components need as many distinct rows, and the {len(x):,} rows of the start hold "
                f"{k}: give --components {k} or fewer, or a larger --batch where there are more rows"
            )
        chosen.append(int((times[:, k] / nearest).argmin()))
        nearest = torch.minimum(nearest, (x - x[chosen[-1]]).square().sum(1))
    return chosen
