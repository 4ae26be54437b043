"""Parzen windows against closed forms and scikit-learn."""

from math import exp, log, pi

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KernelDensity
from torch.distributions import MultivariateNormal

from simulacra.metrics import parzen as module
from simulacra.metrics.measure import Seen
from simulacra.metrics.parzen import Parzen, ParzenConfig, geometric, log_likelihoods
from tests.checks.ranks import on_ranks


def pixels(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def kernel_density(sigma, samples):
    """Scikit-learn's estimate in one leaf: over several it misses the logarithms of small densities by far."""
    return KernelDensity(bandwidth=sigma, leaf_size=1000).fit(samples.double())


def shown(measure, rows, held_out, samples):
    for side, x in (("real", rows), ("held_out", held_out), ("fake", samples)):
        measure.update(side, Seen(torch.arange(len(x)), x))
    return measure


def score(rows, held_out, samples, **options):
    return shown(Parzen(ParzenConfig(**options)), rows, held_out, samples).compute()["parzen"]


SIGMAS = torch.tensor([0.1, 0.35, 2.0], dtype=torch.float64)


def test_one_sample_is_one_gaussian():
    x, s = pixels(7, 5), pixels(1, 5, seed=1)
    for sigma, found in zip(SIGMAS, log_likelihoods(x, s, SIGMAS)):
        law = MultivariateNormal(s[0].double(), sigma**2 * torch.eye(5, dtype=torch.float64))
        assert torch.allclose(found, law.log_prob(x.double()), rtol=1e-12, atol=1e-9)


def test_two_samples_by_hand():
    """On a line with σ = ½: windows at 0 and 1, a row at 0. Half of (1 + e^{−2}) times 1/(½ √2π)."""
    found = log_likelihoods(torch.zeros(1, 1), torch.tensor([[0.0], [1.0]]), torch.tensor([0.5], dtype=torch.float64))
    assert found.item() == pytest.approx(log(0.5 * (1 + exp(-2)) / (0.5 * (2 * pi) ** 0.5)), abs=1e-12)


@pytest.mark.parametrize("sigma", [0.1, 0.3, 1.0])
def test_it_is_what_scikit_learn_says(sigma, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_A_TIME", 30)
    monkeypatch.setattr(module, "SAMPLES_AT_A_TIME", 70)
    x, s = pixels(100, 20), pixels(200, 20, seed=1)
    found = log_likelihoods(x, s, torch.tensor([sigma], dtype=torch.float64))[0]
    assert np.allclose(found, kernel_density(sigma, s).score_samples(x), rtol=0, atol=1e-6)


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.integers(2, 12))
def test_sigmas_are_numpys_logarithmic_range(lowest, highest, number):
    expected = np.logspace(np.log10(lowest), np.log10(highest), number)
    assert np.allclose(geometric(lowest, highest, number), expected, rtol=1e-9)


def test_the_density_integrates_to_one():
    x = torch.linspace(-4, 5, 4001)[:, None]
    density = log_likelihoods(x, pixels(6, 1), torch.tensor([0.2], dtype=torch.float64))[0].exp()
    assert torch.trapezoid(density, x[:, 0].double()).item() == pytest.approx(1.0, rel=1e-6)


def test_the_sigma_is_the_best_on_held_out_rows():
    rows, held_out, samples = pixels(40, 8), pixels(30, 8, seed=1), pixels(50, 8, seed=2)
    found = score(rows, held_out, samples)
    sigmas = np.logspace(-1, 0, 10)
    by_sigma = [kernel_density(sigma, samples).score(held_out) / 30 for sigma in sigmas]
    best = int(np.argmax(by_sigma))
    assert 0 < best < 9
    assert found.facts["sigma"] == pytest.approx(sigmas[best])
    assert found.facts["validation_log_likelihoods"] == pytest.approx(by_sigma, abs=1e-5)
    assert found.facts["rows"] == {"real": 40, "held_out": 30, "fake": 50}
    each = kernel_density(sigmas[best], samples).score_samples(rows)
    assert found.value == pytest.approx(each.mean(), abs=1e-5)
    assert found.standard_error == pytest.approx(each.std(ddof=1) / 40**0.5, abs=1e-5)
    assert len(found.notes) == 1
    assert "unreliable" in found.notes[0]


@pytest.mark.parametrize(("options", "sigma"), [({"highest": 0.2}, 0.2), ({"lowest": 0.7}, 0.7)])
def test_a_sigma_at_an_end_of_its_range_is_told(options, sigma):
    found = score(pixels(40, 8), pixels(30, 8, seed=1), pixels(50, 8, seed=2), **options)
    assert found.facts["sigma"] == pytest.approx(sigma)
    assert "parzen.lowest" in found.notes[1]


def test_one_sigma_is_no_choice():
    found = score(pixels(4, 8), pixels(3, 8, seed=1), pixels(5, 8, seed=2), sigmas=1, lowest=0.3)
    assert found.facts["sigmas"] == pytest.approx([0.3])
    assert len(found.notes) == 1


def test_only_the_first_rows_count_whatever_their_order():
    rows, held_out, samples = pixels(40, 8), pixels(30, 8, seed=1), pixels(50, 8, seed=2)
    whole = score(rows[:20], held_out[:10], samples[:15])
    measure = Parzen(ParzenConfig(rows=20, validation=10, samples=15))
    for side, x in (("real", rows), ("held_out", held_out), ("fake", samples)):
        for part in pixels(len(x), seed=3).argsort().split(7):
            measure.update(side, Seen(part, x[part]))
    assert measure.compute()["parzen"] == whole


def test_ranks_say_what_one_says():
    rows, held_out, samples = pixels(41, 8), pixels(30, 8, seed=1), pixels(50, 8, seed=2)

    def play(table):
        measure = Parzen()
        for side, x in (("real", rows), ("held_out", held_out), ("fake", samples)):
            index = torch.arange(len(x))[table.rank :: table.size]
            measure.update(side, Seen(index, x[index]))
        return measure.compute(table)["parzen"]

    found, alone = on_ranks(3, play), score(rows, held_out, samples)
    assert found[0] == found[1] == found[2]
    assert found[0].value == pytest.approx(alone.value, rel=1e-12)
    assert found[0].standard_error == pytest.approx(alone.standard_error, rel=1e-9)
    assert found[0].facts["validation_log_likelihoods"] == pytest.approx(alone.facts["validation_log_likelihoods"])
