"""Posteriors of each row's own, on the linear decoder of tests/test_models.py, whose best Gaussian one is known."""

import pytest
import torch
from torch import nn

from simulacra.metrics.amortisation import AmortisationConfig, AmortisationGap
from simulacra.metrics.of_model import Setting
from simulacra.models.svi import SVI, SVIConfig
from tests.test_models import PLANE, SIGMA, B, W, X, averaged, elbo, evidence, linear

PRECISION = W.T @ W / SIGMA**2 + torch.eye(2)
BEST_MEAN = torch.linalg.solve(PRECISION, W.T @ (X - B).T / SIGMA**2).T
BEST_LOG_VARIANCE = -PRECISION.diagonal().log()  # the diagonal Gaussian nearest to N(·, PRECISION⁻¹), by KL(q‖p)


def own(steps: int = 400) -> SVI:
    config = SVIConfig(likelihood="gaussian", sigma=SIGMA, latent=2, inference_steps=steps, inference_rate=0.2)
    model = SVI(config, PLANE)
    model.decoder = nn.Linear(2, 2)
    with torch.no_grad():
        model.decoder.weight.copy_(W)
        model.decoder.bias.copy_(B)
    return model


def test_each_row_finds_the_best_diagonal_posterior() -> None:
    posterior = own().posterior(X)
    assert torch.allclose(posterior.mean, BEST_MEAN, atol=5e-3)
    assert torch.allclose(posterior.log_variance, BEST_LOG_VARIANCE.expand(3, 2), atol=0.1)


def test_a_rows_posterior_does_not_depend_on_the_rows_beside_it() -> None:
    model = own(30)
    alone = torch.cat([model.numbers(row[None]) for row in X])
    assert torch.allclose(model.numbers(X), alone, atol=1e-6)


def test_its_bound_is_that_of_the_best_posterior_and_below_the_evidence() -> None:
    values = averaged(own(), 250)
    best = elbo(X, BEST_MEAN, BEST_LOG_VARIANCE)
    assert ((values.mean(1) - best).abs() < 4 * values.std(1) / 250**0.5 + 0.02).all()
    assert (best < evidence(X)).all()


def test_bounds_of_a_row_do_not_depend_on_how_many_are_asked_for() -> None:
    """Noise is the row's own: 300 rows at once have what 250 and then 50 have."""
    model, rows, options = own(2), X[torch.arange(300) % 3], {"steps": 2, "rate": 0.1, "samples": 2}
    together = torch.stack(model.local_bounds(rows, **options))
    parts = [torch.stack(model.local_bounds(rows[a:b], start=a, **options)) for a, b in ((0, 250), (250, 300))]
    assert torch.allclose(together, torch.cat(parts, 1))
    assert not torch.allclose(together[:, 0], together[:, 252])


def test_looking_for_posteriors_leaves_the_decoder_alone() -> None:
    model = own(5)
    model.numbers(X)
    assert all(parameter.grad is None for parameter in model.parameters())


def gap(model: object, **options: float) -> tuple[float, dict]:
    measure = AmortisationGap(AmortisationConfig(rows=None, **options))  # type: ignore[arg-type]
    score = measure.compute(model, Setting(test=lambda n: iter([(0, X)]), features=lambda x: x))["amortisation_gap"]  # type: ignore[arg-type]
    return score.value, dict(score.facts)


def test_the_gap_of_an_encoder_is_what_it_loses_in_closed_form() -> None:
    """An encoder that says N(Mx, 0.3²) for every x loses the difference of two bounds, both known."""
    mean, log_variance = torch.tensor([[0.4, 0.1], [-0.2, 0.5]]), torch.full((2,), 2 * torch.tensor(0.3).log().item())
    model = linear(mean, torch.zeros(2), log_variance)
    best, told = elbo(X, BEST_MEAN, BEST_LOG_VARIANCE), elbo(X, X @ mean.T, log_variance)
    value, facts = gap(model, steps=1500, rate=0.05, samples=4000)
    assert value == pytest.approx((best - told).mean().item(), abs=0.06)
    assert facts["refined"] - facts["elbo"] == pytest.approx(value, abs=1e-9)


def test_an_encoder_that_is_right_loses_nothing() -> None:
    """The best diagonal posterior is linear in x: there is nothing to gain."""
    solve = torch.linalg.solve(PRECISION, W.T / SIGMA**2)
    value, _ = gap(linear(solve, -solve @ B, BEST_LOG_VARIANCE), steps=300, rate=0.01, samples=1000)
    assert value == pytest.approx(0.0, abs=0.02)
