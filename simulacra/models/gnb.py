"""Gaussian naive Bayes as a generative classifier: p(x, y) = p(y) Π_d N(x_d; μ_yd, σ²_yd), by counting (Duda & Hart
1973, "Pattern Classification and Scene Analysis"; Ng & Jordan 2001 set it beside its discriminative partner).
"""

from collections.abc import Mapping
from math import log, pi

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import one_hot

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.capabilities import LogProb
from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model, in_batches
from simulacra.models.batches import labels_of, require_classes

TILE = 512
"""Rows that are worked on at a time."""


class GNBConfig(Config):
    """What Gaussian naive Bayes is made of."""

    classes: int = Field(default=10, ge=1, description="K, number of classes")
    var_smoothing: float = Field(
        default=1e-9,
        ge=0,
        description="added to every variance, as a share of the largest variance of all numbers of a row",
    )


class GNB(Model):
    """A prior of K classes, and for each a Gaussian whose numbers are independent. In float64."""

    name, Config = "gnb", GNBConfig
    config: GNBConfig

    def __init__(self, config: GNBConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        k, d = config.classes, spec.numel
        self.priors = nn.Parameter(torch.full((k,), 1.0 / k, dtype=torch.float64))
        self.means = nn.Parameter(torch.zeros(k, d, dtype=torch.float64))
        self.variances = nn.Parameter(torch.ones(k, d, dtype=torch.float64))

    # How it learns: counting is a closed-form move

    @torch.no_grad()
    def count(self, batch: Rows, at: At) -> Mapping[str, Tensor]:
        """Rows of each class `[K]`, and sums and sums of squares of their differences from the means as they are
        `[K, D]`: on a second pass no digit is lost where means are large beside deviations."""
        x, labels = self.flat(batch.x), labels_of(batch).to(self.device)
        member = one_hot(labels, self.config.classes).to(x)
        centred = x - self.means[labels]
        log_likelihood = self.joint(x).gather(1, labels[:, None]).sum()
        sums = {"counts": member.sum(0), "first": member.T @ centred, "second": member.T @ centred.square()}
        return sums | {"log_likelihood": log_likelihood}

    @torch.no_grad()
    def estimate(self, sums: Mapping[str, Tensor]) -> Terms:
        """Set priors, means and variances to those of largest likelihood, then smooth the variances. Terms: log p(x, y)
        per row, in nats, of the parameters as they were, and how many variances are mostly what smoothing added
        (`floored`). Raises UserError for a class without rows."""
        counts, rows = sums["counts"], sums["counts"].sum()
        if missing := (counts == 0).nonzero().flatten().tolist():
            name = (self.spec.classes or range(len(counts)))[missing[0]]
            raise UserError(f"class '{name}' has no rows, so it has no mean: add some, or leave the class out")
        shift = sums["first"] / counts[:, None]
        self.means.add_(shift)
        within = (sums["second"] / counts[:, None] - shift.square()).clamp_min(0.0)
        self.priors.copy_(counts / rows)
        overall = self.priors @ self.means
        spread = self.priors @ (within + (self.means - overall).square())  # the variance of each number over all rows
        added = self.config.var_smoothing * spread.max()
        self.variances.copy_(within + added)
        if not spread.max() > 0:
            raise UserError("all rows are the same: there is nothing to tell classes apart by")
        if not (self.variances > 0).all():
            raise UserError("a number is constant within a class: give a --var-smoothing above 0")
        return {"log_likelihood": sums["log_likelihood"] / rows, "floored": (within < added).sum().to(rows)}

    def flat(self, x: Tensor) -> Tensor:
        """Rows `[N, ...]` as float64 `[N, D]`, where the parameters are."""
        return self.taken(x).flatten(1)

    def joint(self, x: Tensor) -> Tensor:
        """log p(x, y) `[N, K]` of flat rows `[N, D]`, in nats."""
        found = []
        for prior, mean, variance in zip(self.priors, self.means, self.variances):
            squares = ((x - mean).square() / variance).sum(1)
            found.append(prior.log() - 0.5 * (squares + variance.log().sum() + x.shape[1] * log(2 * pi)))
        return torch.stack(found, 1)

    # The verbs

    def classify(self, x: Tensor) -> Tensor:
        """log p(x, y) `[N, K]` of data `[N, ...]`, in nats: logits whose softmax is the posterior p(y|x)."""
        with evaluating(self):
            return in_batches(lambda rows: self.joint(self.flat(rows)), x, TILE)

    def posterior(self, x: Tensor) -> Tensor:
        """p(y|x) `[N, K]` by Bayes' rule."""
        return self.classify(x).softmax(1)

    def log_prob(self, x: Tensor, *, seed: int = 0, start: int = 0) -> LogProb:
        """log p(x) = log Σ_y p(x, y) `[N]`, exact, in nats: a density in the units of the rows."""
        return LogProb(self.classify(x).logsumexp(1), "exact")

    def labels(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """The classes int64 `[n]` of samples start … start+n−1, drawn from the prior."""
        return randomness.sample_categorical(self.priors, n, seed=seed, start=start)

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Rows start … start+n−1, float32 `[n, ...]`: a class, then each number for itself. Nothing bounds pixels."""
        return self.sample_labelled(self.labels(n, seed=seed, start=start), seed=seed, start=start)

    def sample_labelled(self, labels: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """Samples of the classes int64 `[n]`, with the noise of samples start … start+n−1. Raises UserError for a class
        that is not there."""
        require_classes(labels, self.config.classes)
        noise = randomness.sample_normal(len(labels), self.spec.numel, seed=seed, start=start, draw=1).to(self.means)
        labels = labels.to(self.device)
        x = self.means.detach()[labels] + self.variances.detach()[labels].sqrt() * noise
        return x.float().view(len(labels), *self.spec.shape)

    def centres(self) -> Tensor:
        """The classes' means, float32 `[K, ...]` on the scale of the data spec."""
        return self.means.detach().float().view(-1, *self.spec.shape)
