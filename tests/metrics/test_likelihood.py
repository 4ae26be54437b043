"""Log-likelihoods of test rows, against models whose log p(x) is known."""

from math import log

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from simulacra.capabilities import LogProb
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.metrics.likelihood import IWAE, LogLikelihood, weighted_bound
from simulacra.metrics.of_model import Setting
from simulacra.models.vae import VAE, VAEConfig
from simulacra.play import Table
from simulacra.randomness import sample_normal
from tests.checks.ranks import on_ranks

SIGMA = 0.5
W = torch.tensor([[1.0, 0.3], [-0.4, 0.8]])
B = torch.tensor([0.2, -0.1])
X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))


def vae():
    """x = W z + b + 0.5 ε, whose p(x) is N(b, WWᵀ + ¼ I), with a posterior that does not quite fit."""
    model = VAE(VAEConfig(likelihood="gaussian", sigma=SIGMA, latent=2), Spec(kind="vector", shape=(2,), classes=None))
    model.encoder, model.decoder = nn.Linear(2, 4), nn.Linear(2, 2)
    with torch.no_grad():
        model.decoder.weight.copy_(W)
        model.decoder.bias.copy_(B)
        model.encoder.weight.copy_(torch.tensor([[0.6, -0.2], [0.1, 0.6], [0.0, 0.0], [0.0, 0.0]]))
        model.encoder.bias.copy_(torch.tensor([0.0, 0.1, -1.2, -1.2]))
    return model


EVIDENCE = MultivariateNormal(B, W @ W.T + SIGMA**2 * torch.eye(2)).log_prob(X)


def setting(seed=0, table=None, batch=64, rows=X):
    """The test rows in batches, dealt to ranks in runs."""
    table = table or Table()

    def test(n):
        n = len(rows) if n is None else min(n, len(rows))
        last = n * (table.rank + 1) // table.size
        for start in range(n * table.rank // table.size, last, batch):
            yield start, rows[start : min(start + batch, last)]

    return Setting(test=test, features=lambda x: x, seed=seed, table=table)


# log_prob


class Known:
    """Says exactly how likely rows are; remembers what it was asked."""

    def __init__(self, values, kind="exact"):
        self.values, self.kind, self.asked = values, kind, []

    def log_prob(self, x, *, seed=0, start=0):
        self.asked.append((start, len(x), seed))
        return LogProb(self.values[start : start + len(x)], self.kind)


def test_the_mean_of_log_prob_by_hand():
    """Values 0, −3, −6: mean −3, deviation 3, error 3/√3; two dimensions: 3/(2 log 2) bits each."""
    model = Known(torch.tensor([0.0, -3.0, -6.0]))
    score = LogLikelihood().compute(model, setting(seed=7, batch=2, rows=X[:3]))["log_prob"]
    assert score.value == -3.0
    assert score.standard_error == pytest.approx(3**0.5)
    assert score.facts["bits_per_dimension"] == pytest.approx(1.5 / log(2))
    assert (score.facts["kind"], score.facts["rows"]) == ("exact", {"real": 3})
    assert model.asked == [(0, 2, 7), (2, 1, 7)]


@pytest.mark.parametrize("kind", ["exact", "bound", "estimate", "estimated bound"])
def test_the_kind_is_told(kind):
    score = LogLikelihood(LogLikelihood.Config(rows=10)).compute(Known(X[:, 0], kind), setting())["log_prob"]
    assert (score.facts["kind"], score.facts["rows"]) == (kind, {"real": 10})
    assert score.value == pytest.approx(X[:10, 0].double().mean().item())


@pytest.mark.parametrize(
    "measure", [LogLikelihood(), IWAE(IWAE.Config(samples=30, images=None))], ids=["log_prob", "iwae"]
)
def test_ranks_and_batches_do_not_count(measure):
    model = vae()
    (alone,) = measure.compute(model, setting(seed=3)).values()
    (batched,) = measure.compute(model, setting(seed=3, batch=7)).values()
    (other,) = measure.compute(model, setting(seed=4)).values()
    found = on_ranks(3, lambda table: measure.compute(model, setting(seed=3, table=table)))
    assert found[0] == found[1] == found[2]
    (joint,) = found[0].values()
    assert alone.facts["rows"] == {"real": 200}
    assert alone.value != other.value
    for score in (joint, batched):
        assert score.value == pytest.approx(alone.value, abs=1e-5)
        assert score.standard_error == pytest.approx(alone.standard_error, abs=1e-5)
        assert score.facts["rows"] == {"real": 200}


def test_more_ranks_than_rows():
    found = on_ranks(3, lambda table: LogLikelihood().compute(Known(X[:, 0]), setting(table=table, rows=X[:2])))
    assert found[0] == found[1] == found[2]
    assert found[0]["log_prob"].facts["kind"] == "exact"


def test_what_cannot_be_scored_is_named():
    with pytest.raises(UserError, match="log_prob needs at least 2 test rows: there are 1"):
        LogLikelihood().compute(Known(X[:, 0]), setting(rows=X[:1]))
    with pytest.raises(UserError, match="log_prob needs at least 2 test rows: there are 0"):
        LogLikelihood().compute(Known(X[:, 0]), setting(rows=X[:0]))
    values = X[:, 0].clone()
    values[70] = -torch.inf
    with pytest.raises(UserError, match="test row 70 is not finite"):
        LogLikelihood().compute(Known(values), setting())


# The importance weighted bound


class Weighing:
    """Weights that are known numbers of (seed, row, k); remembers which it was asked for."""

    def __init__(self, scale=3.0):
        self.scale, self.asked = scale, []

    def log_weights(self, x, samples, *, seed=0, start=0, first=0):
        self.asked.append((start, len(x), first, samples))
        each = [sample_normal(len(x), seed=seed, start=start, draw=k) for k in range(first, first + samples)]
        return self.scale * torch.stack(each, dim=1) - 100.0


def test_asking_for_n_samples_uses_n():
    model = Weighing()
    score = IWAE(IWAE.Config(samples=257, images=45)).compute(model, setting(batch=30))["iwae"]
    drawn = torch.zeros(45, 257)
    for start, rows, first, samples in model.asked:
        assert rows * samples <= 2000
        drawn[start : start + rows, first : first + samples] += 1
    assert (drawn == 1).all()
    assert (score.facts["samples"], score.facts["rows"]) == (257, {"real": 45})


@pytest.mark.parametrize("at_a_time", [1, 7, 50, 1000])
def test_how_many_weights_are_asked_for_at_a_time_does_not_count(at_a_time):
    weights = Weighing().log_weights(X, 50, seed=2, start=5).double()
    value, effective = weighted_bound(Weighing(), X, 50, seed=2, start=5, at_a_time=at_a_time)
    assert torch.allclose(value, weights.exp().mean(1).log(), rtol=1e-12)
    assert torch.allclose(effective, weights.exp().sum(1).square() / weights.exp().square().sum(1), rtol=1e-9)


def test_one_sample_is_the_mean_log_weight():
    score = IWAE(IWAE.Config(samples=1)).compute(Weighing(), setting(seed=5))["iwae"]
    weights = Weighing().log_weights(X, 1, seed=5).double()[:, 0]
    assert score.value == pytest.approx(weights.mean().item(), rel=1e-9)
    assert score.standard_error == pytest.approx(weights.std().item() / 200**0.5, rel=1e-9)
    assert score.facts["effective_samples"] == pytest.approx(1.0)
    assert score.facts["bits_per_dimension"] == pytest.approx(-score.value / (2 * log(2)))


def test_the_bound_rises_with_samples_to_the_log_likelihood():
    model, values = vae(), {}
    for samples in (1, 5, 50, 5000):
        values[samples] = weighted_bound(model, X, samples, at_a_time=500)[0]
    means = [value.mean().item() for value in values.values()]
    assert means == sorted(means)
    assert means[0] < EVIDENCE.mean().item() - 0.1
    assert torch.allclose(values[5000], EVIDENCE.double(), atol=0.3)
    assert means[-1] == pytest.approx(EVIDENCE.mean().item(), abs=0.01)


def test_one_sample_is_the_elbo_on_average():
    """The ELBO has its divergence in closed form; the difference has mean zero."""
    model = vae()
    x = X[:1].expand(20_000, 2)
    difference = model.log_weights(x, 1)[:, 0] - model.log_prob(x).value
    assert difference.std() > 0.01
    assert abs(difference.mean()) < 4 * difference.std() / 20_000**0.5


def test_weights_average_to_the_likelihood_itself():
    """E_q p(x, z)/q(z|x) = p(x), which no closed form of the bound uses."""
    model = vae()
    for x, evidence in zip(X[:3], EVIDENCE):
        ratio = (model.log_weights(x.expand(10_000, 2), 3) - evidence).double().exp().flatten()
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / 30_000**0.5
