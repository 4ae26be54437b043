"""Annealed importance sampling over latents, on the linear decoder of tests/test_models.py, whose log p(x) is known."""

import math

import pytest
import torch

from simulacra.errors import UserError
from simulacra.metrics.hamiltonian import Fixed, HamiltonianAIS, HamiltonianConfig, Noise, anneal, sigmoidal
from simulacra.metrics.of_model import Setting
from tests.test_models import X, evidence, linear
from tests.test_variational import layered_evidence, two_layers

MODEL = linear(torch.eye(2), torch.zeros(2), torch.zeros(2))


def measured(rows: torch.Tensor = X, first: int = 0, **options: int) -> torch.Tensor:
    return HamiltonianAIS(HamiltonianConfig(**options)).of_rows(MODEL, rows, seed=3, start=first)  # type: ignore[arg-type]


def test_it_is_log_p_of_x_for_a_linear_gaussian_decoder() -> None:
    found = measured(temperatures=1000, chains=40, leapfrogs=5)
    assert torch.allclose(found[:, 0].float(), evidence(X), atol=0.05)
    assert (found[:, 1] > 30).all()  # chains agree
    assert ((found[:, 2] > 0.5) & (found[:, 2] < 0.85)).all()  # the pilot's steps suit


def test_layers_of_latents_are_annealed_together() -> None:
    found = HamiltonianAIS(HamiltonianConfig(temperatures=1000, chains=40, leapfrogs=5)).of_rows(two_layers(), X, 3, 0)
    assert torch.allclose(found[:, 0].float(), layered_evidence(X), atol=0.1)


def test_few_temperatures_fall_short_and_many_do_not() -> None:
    rows = X.repeat(10, 1)
    short = measured(rows, temperatures=10, chains=2, leapfrogs=5)[:, 0].float()
    long = measured(rows, temperatures=1000, chains=8, leapfrogs=5)[:, 0].float()
    exact = evidence(rows)
    assert (short - exact).mean() < -0.1
    assert abs((long - exact).mean()) < 0.02


def test_weights_are_unbiased_however_short_the_annealing() -> None:
    """The mean of the weights is p(x), also of three temperatures and of steps that are seldom accepted."""
    noise = Noise(n=1, chains=40_000, latents=2, seed=1)
    likelihood = MODEL.likelihood_of(X[:1])
    done = anneal(likelihood, sigmoidal(3), noise, Fixed(torch.full((1, 3), 1.5)), 3)
    weights = done.log_weights[0].exp()
    error = weights.std() / math.sqrt(len(weights))
    assert abs(weights.mean() - evidence(X[:1]).double().exp()) < 4 * error
    assert done.accepted.item() < 0.6


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    together = measured(temperatures=30, chains=3, leapfrogs=2)
    alone = torch.cat([measured(X[k : k + 1], k, temperatures=30, chains=3, leapfrogs=2) for k in range(3)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_temperatures_ascend_from_zero_to_one() -> None:
    betas = sigmoidal(50)
    assert (betas[0], betas[-1]) == (0.0, 1.0)
    assert betas == sorted(set(betas))


def test_the_score_is_the_mean_of_rows() -> None:
    setting = Setting(test=lambda n: iter([(0, X)]), features=lambda x: x, seed=3)
    score = HamiltonianAIS(HamiltonianConfig(temperatures=30, chains=3, leapfrogs=2)).compute(MODEL, setting)["hais"]
    assert score.value == pytest.approx(measured(temperatures=30, chains=3, leapfrogs=2)[:, 0].mean().item(), abs=1e-9)
    assert score.facts["chains"] == 3
    assert score.facts["rows"] == {"real": 3}


def test_weights_that_are_not_finite_are_refused() -> None:
    class Broken:
        device, prior = torch.device("cpu"), MODEL.prior

        def likelihood_of(self, x: torch.Tensor, **_: int):
            return lambda z: z.sum(2) * math.inf

    with pytest.raises(UserError, match="not finite"):
        HamiltonianAIS(HamiltonianConfig(temperatures=10, chains=2)).of_rows(Broken(), X, 0, 0)  # type: ignore[arg-type]


def test_chains_that_hardly_move_are_told_of() -> None:
    setting = Setting(test=lambda n: iter([(0, X)]), features=lambda x: x)
    config = HamiltonianConfig(temperatures=10, chains=3, leapfrogs=2, rate=1e6)
    assert "were taken" in HamiltonianAIS(config).compute(MODEL, setting)["hais"].notes[0]
    assert not HamiltonianAIS(HamiltonianConfig(temperatures=30, chains=3)).compute(MODEL, setting)["hais"].notes
