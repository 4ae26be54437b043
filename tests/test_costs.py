"""Costs against their formulas, other implementations, and what every density must be."""

from itertools import product
from math import exp, log, pi

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from simulacra.costs.adversarial import OBJECTIVES
from simulacra.costs.divergences import kl_standard_normal
from simulacra.costs.reconstruction import bernoulli, gaussian

SCORES = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0], dtype=torch.float64)
D = SCORES.sigmoid()


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_discriminator_descends_the_negative_value_of_the_game():
    for objective in OBJECTIVES.values():
        terms = objective.discriminator(SCORES, SCORES.flip(0))
        assert torch.allclose(terms["real"], -D.log())
        assert torch.allclose(terms["fake"], -(1 - D.flip(0)).log())


def test_at_the_equilibrium_the_value_of_the_game_is_minus_log_four():
    terms = OBJECTIVES["minimax"].discriminator(torch.zeros(1), torch.zeros(1))
    assert sum(terms.values()).item() == pytest.approx(log(4))
    assert OBJECTIVES["minimax"].generator(torch.zeros(1))["fool"].item() == pytest.approx(-log(2))
    assert OBJECTIVES["non-saturating"].generator(torch.zeros(1))["fool"].item() == pytest.approx(log(2))


@pytest.mark.parametrize(
    ("name", "value", "slope"),
    [("minimax", (1 - D).log(), -D), ("non-saturating", -D.log(), D - 1)],
)
def test_the_generators_cost_and_its_gradient_by_the_score(name, value, slope):
    """d/ds log(1 − sigmoid(s)) = −D, flat where D is near 0; d/ds −log sigmoid(s) = D − 1, steep there."""
    scores = SCORES.clone().requires_grad_()
    fool = OBJECTIVES[name].generator(scores)["fool"]
    assert torch.allclose(fool, value)
    assert torch.allclose(torch.autograd.grad(fool.sum(), scores)[0], slope)


def test_large_scores_do_not_overflow():
    scores = torch.tensor([-1e4, 1e4])
    for name, objective in OBJECTIVES.items():
        assert objective.discriminator(scores, scores)["real"].tolist() == [1e4, 0.0]
        assert objective.discriminator(scores, scores)["fake"].tolist() == [0.0, 1e4]
        expected = [0.0, -1e4] if name == "minimax" else [1e4, 0.0]
        assert objective.generator(scores)["fool"].tolist() == expected


def test_every_objective_is_listed_under_its_name():
    assert all(name == objective.name for name, objective in OBJECTIVES.items())


def test_kl_to_the_prior_is_what_torch_says():
    mean, log_variance = drawn(7, 4), drawn(7, 4, seed=1)
    posterior = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    prior = Independent(Normal(torch.zeros(4).double(), torch.ones(4).double()), 1)
    assert torch.allclose(kl_standard_normal(mean, log_variance), kl_divergence(posterior, prior))


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_kl_is_positive_but_at_the_prior(mean, log_variance):
    kl = kl_standard_normal(*(torch.tensor([[v]], dtype=torch.float64) for v in (mean, log_variance)))
    assert kl.shape == (1,)
    assert kl.item() >= -1e-12
    assert kl.item() == pytest.approx(0.5 * (mean**2 + exp(log_variance) - 1 - log_variance), abs=1e-9)


def test_bernoulli_is_what_torch_says():
    logits, x = drawn(5, 1, 2, 3), (drawn(5, 1, 2, 3, seed=1) > 0).double()
    expected = -Independent(Bernoulli(logits=logits), 3).log_prob(x)
    assert torch.allclose(bernoulli(logits, x), expected)


def test_bernoulli_probabilities_of_all_bit_patterns_sum_to_one():
    patterns = torch.tensor(list(product([0.0, 1.0], repeat=6)), dtype=torch.float64)
    logits = 3 * drawn(6).expand(64, 6)
    assert (-bernoulli(logits, patterns)).exp().sum().item() == pytest.approx(1.0)


def test_bernoulli_stays_finite_where_the_decoder_is_sure_and_wrong():
    assert bernoulli(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]])).tolist() == [2e4]


def test_gaussian_is_what_torch_says():
    mean, x = drawn(5, 1, 2, 3), drawn(5, 1, 2, 3, seed=1)
    expected = -Independent(Normal(mean, torch.tensor(0.3).double()), 3).log_prob(x)
    assert torch.allclose(gaussian(mean, x, 0.3), expected)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0])
def test_a_gaussian_density_integrates_to_one(sigma):
    x = torch.linspace(-30, 30, 200_001, dtype=torch.float64)[:, None]
    density = (-gaussian(torch.full_like(x, 0.7), x, sigma)).exp()
    assert torch.trapezoid(density, x[:, 0]).item() == pytest.approx(1.0, rel=1e-6)
    assert density.max().item() == pytest.approx(1 / (sigma * (2 * pi) ** 0.5), rel=1e-3)
