"""Annealed importance sampling against partition functions that are known."""

from itertools import pairwise, product
from math import inf, log, pi

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra.errors import UserError
from simulacra.metrics import ais
from simulacra.metrics.ais import RBMPath, annealed, base_rate, exact_log_z, paper_betas, summary
from simulacra.randomness import generator

CPU = torch.device("cpu")


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def even(steps):
    return [k / steps for k in range(steps + 1)]


# An RBM small enough to write out: 2 visible units, 1 hidden unit, e^W = (2, 3), e^b = (1, 2), a = 0.
#   v = 00: 1 · (1 + 1) = 2      v = 10: 1 · (1 + 2) = 3
#   v = 01: 2 · (1 + 3) = 8      v = 11: 2 · (1 + 6) = 14      Z = 27

TINY = torch.tensor([[2.0], [3.0]]).log(), torch.tensor([1.0, 2.0]).log(), torch.zeros(1)
BITS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def test_the_partition_function_of_a_tiny_rbm_by_hand():
    assert exact_log_z(*TINY) == pytest.approx(log(27), abs=1e-6)
    weights, visible, hidden = TINY
    assert exact_log_z(weights.T, hidden, visible) == pytest.approx(log(27), abs=1e-6)


def test_the_densities_of_a_tiny_rbm_by_hand():
    """At β = ½ with e^{b_A} = (4, 1): (4, 1)^½ = (2, 1) and (1, 2)^½ = (1, √2); v = 11: 2 · √2 · (1 + √6)."""
    path = RBMPath(*TINY, torch.tensor([4.0, 1.0]).log())
    assert path.log_density(path.at(BITS), 1.0).exp().tolist() == pytest.approx([2, 3, 8, 14], rel=1e-6)
    assert path.log_density(path.at(BITS), 0.0).exp().tolist() == pytest.approx([2, 8, 2, 8], rel=1e-6)
    assert path.log_base == pytest.approx(log(20), rel=1e-6)
    half = path.log_density(path.at(BITS), 0.5).exp()
    assert half[3].item() == pytest.approx(2 * 2**0.5 * (1 + 6**0.5), rel=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_transitions_leave_their_density_invariant(beta):
    """From states in the proportions of f_β to states in the same proportions; and from one state, by many sweeps."""
    path = RBMPath(*TINY, torch.tensor([4.0, 1.0]).log())
    density = path.log_density(path.at(BITS), beta)
    law = (density - density.logsumexp(0)).exp()
    which = torch.multinomial(law, 40_000, replacement=True, generator=torch.Generator().manual_seed(1))
    noise = generator(CPU, 5)
    for state, sweeps in ((path.at(BITS[which]), 1), (path.at(torch.zeros(40_000, 2)), 20)):
        for _ in range(sweeps):
            state = path.transition(state, beta, noise)
        found = torch.bincount((state.bits @ torch.tensor([1.0, 2.0]).double()).long(), minlength=4) / 40_000
        assert ((found - law).abs() < 4 * (law * (1 - law) / 40_000).sqrt()).all()


def test_the_start_is_an_exact_draw():
    bias = torch.tensor([-1.0, 0.0, 2.0])
    path = RBMPath(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2), bias)
    rates = path.start(40_000, generator(CPU, 1)).bits.mean(0)
    expected = bias.sigmoid()
    assert ((rates - expected).abs() < 4 * (expected * (1 - expected) / 40_000).sqrt()).all()


# Exact


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_enumeration_is_the_sum_over_both_layers(v, h, seed):
    weights, visible, hidden = 2 * drawn(v, h, seed=seed), drawn(v, seed=seed + 1), drawn(h, seed=seed + 2)
    terms = [
        a @ weights @ b + visible @ a + hidden @ b
        for a in torch.tensor(list(product([0.0, 1.0], repeat=v))).double()
        for b in torch.tensor(list(product([0.0, 1.0], repeat=h))).double()
    ]
    assert exact_log_z(weights, visible, hidden) == pytest.approx(torch.stack(terms).logsumexp(0).item(), abs=1e-10)


def test_enumeration_in_blocks_leaves_none_out(monkeypatch):
    parts = drawn(9, 7), drawn(9, seed=1), drawn(7, seed=2)
    whole = exact_log_z(*parts)
    monkeypatch.setattr(ais, "CONFIGURATIONS_AT_A_TIME", 50)
    assert exact_log_z(*parts) == pytest.approx(whole, abs=1e-12)


def test_without_weights_it_is_a_product_in_every_digit():
    visible, hidden = torch.linspace(-50, 50, 21).double(), torch.linspace(-30, 30, 9).double()
    expected = sum(torch.logaddexp(part, torch.zeros(1).double()).sum().item() for part in (visible, hidden))
    assert exact_log_z(torch.zeros(21, 9), visible, hidden) == pytest.approx(expected, abs=1e-10)


def test_too_many_units_are_refused():
    with pytest.raises(UserError, match="26 units are too many to enumerate"):
        exact_log_z(torch.zeros(26, 30), torch.zeros(26), torch.zeros(30))


# Annealed


def test_without_weights_it_is_exact_and_every_chain_agrees():
    """The density is that of the base rates at every β, but for a constant."""
    visible, hidden = drawn(12), drawn(7, seed=1)
    found = annealed(RBMPath(torch.zeros(12, 7), visible, hidden, visible), even(50), 10)
    expected = exact_log_z(torch.zeros(12, 7), visible, hidden)
    assert found.value == pytest.approx(expected, abs=1e-10)
    assert found.standard_error == pytest.approx(0.0, abs=1e-10)
    assert found.low == pytest.approx(found.high, abs=1e-10)
    assert found.effective_chains == pytest.approx(10)


@pytest.mark.parametrize("seed", range(4))
def test_a_random_rbm_is_within_three_standard_errors(seed):
    weights, visible, hidden = drawn(30, 15, seed=seed) / 2, drawn(30, seed=seed + 10), drawn(15, seed=seed + 20)
    found = annealed(RBMPath(weights, visible, hidden, visible), even(1000), 200, seed)
    exact = exact_log_z(weights, visible, hidden)
    assert found.standard_error < 0.05
    assert abs(found.value - exact) < 3 * found.standard_error
    assert found.low < exact < found.high
    assert found.log_weights.shape == (200,)


def test_the_mean_weight_is_unbiased_however_few_the_steps():
    weights, visible, hidden = drawn(6, 4), drawn(6, seed=1), drawn(4, seed=2)
    path = RBMPath(weights, visible, hidden)
    found = annealed(path, [0.0, 0.3, 1.0], 40_000)
    ratio = (found.log_weights + path.log_base - exact_log_z(weights, visible, hidden)).exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / 200
    assert found.standard_error == pytest.approx((ratio.std() / ratio.mean() / 200).item())


def test_longer_schedules_have_less_error():
    path = RBMPath(drawn(20, 10) / 2, drawn(20, seed=1), drawn(10, seed=2))
    errors = [annealed(path, even(steps), 500).standard_error for steps in (5, 50, 500)]
    assert errors == sorted(errors, reverse=True)


def test_a_run_is_a_function_of_its_seed():
    path = RBMPath(*TINY)
    first = annealed(path, even(10), 5, seed=1).log_weights
    assert torch.equal(first, annealed(path, even(10), 5, seed=1).log_weights)
    assert not torch.equal(first, annealed(path, even(10), 5, seed=2).log_weights)


class Gaussians:
    """From N(0, 1) to e^{−(x − 2)²/(2 · ½²)}, whose Z is ½ √2π, by the geometric path and Metropolis' algorithm."""

    device, log_base = CPU, 0.5 * log(2 * pi)

    def start(self, chains, generator):
        return torch.randn(chains, generator=generator, dtype=torch.float64)

    def log_density(self, state, beta):
        return -0.5 * (1 - beta) * state.square() - 2 * beta * (state - 2).square()

    def transition(self, state, beta, generator):
        step = 0.8 * torch.randn(len(state), generator=generator, dtype=torch.float64)
        gain = self.log_density(state + step, beta) - self.log_density(state, beta)
        accepted = torch.rand(len(state), generator=generator, dtype=torch.float64).log() < gain
        return torch.where(accepted, state + step, state)


def test_another_path_gaussians_with_metropolis_steps():
    found = annealed(Gaussians(), even(300), 1000)
    assert found.standard_error < 0.02
    assert abs(found.value - log(0.5 * (2 * pi) ** 0.5)) < 3 * found.standard_error


# Its error


def test_the_summary_of_two_weights_by_hand():
    """Weights 1 and 3: mean 2, deviation √2, its error 1. Thrice that is more than the mean."""
    found = summary(10.0, torch.tensor([1.0, 3.0]).double().log())
    assert found.value == pytest.approx(10 + log(2))
    assert found.standard_error == pytest.approx(0.5)
    assert (found.low, found.high) == (-inf, pytest.approx(10 + log(5)))
    assert found.effective_chains == pytest.approx(16 / 10)


def test_the_interval_by_hand():
    """Weights 9, 10, 11: mean 10, error 1/√3; three of them are √3."""
    found = summary(0.0, torch.tensor([9.0, 10.0, 11.0]).double().log())
    assert found.low == pytest.approx(log(10 - 3**0.5))
    assert found.high == pytest.approx(log(10 + 3**0.5))


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=20))
def test_huge_weights_do_not_overflow(log_weights):
    found = summary(-300.0, torch.tensor(log_weights, dtype=torch.float64))
    assert found.low <= found.value <= found.high < inf
    assert min(log_weights) - 300 - 1e-6 <= found.value <= max(log_weights) - 300 + 1e-6
    assert 1 - 1e-9 <= found.effective_chains <= len(log_weights) + 1e-9


# Schedule, base rates, refusals


def test_the_papers_schedule():
    """500 steps of .001, 4000 of .0001, 10 000 of .00001."""
    betas = paper_betas()
    assert len(betas) == 14_501
    assert (betas[0], betas[500], betas[4500], betas[-1]) == (0.0, 0.5, 0.9, 1.0)
    steps = torch.tensor([b - a for a, b in pairwise(betas)], dtype=torch.float64)
    expected = torch.cat([torch.full((n,), s).double() for n, s in ((500, 1e-3), (4000, 1e-4), (10_000, 1e-5))])
    assert torch.allclose(steps, expected, rtol=1e-5)


def test_base_rates_are_the_datas_drawn_towards_a_half():
    data = torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    rates = base_rate(data, smoothing=0.2).sigmoid()
    assert rates.tolist() == pytest.approx([0.1, 0.9, 0.8 * 0.25 + 0.1])
    assert torch.isfinite(base_rate(data)).all()


@pytest.mark.parametrize("betas", [[], [0.0], [0.0, 0.5], [0.5, 1.0], [0.0, 0.5, 0.5, 1.0], [0.0, 0.7, 0.3, 1.0]])
def test_betas_that_do_not_ascend_from_zero_to_one_are_refused(betas):
    with pytest.raises(UserError, match="betas that ascend from 0 to 1"):
        annealed(RBMPath(*TINY), betas, 10)


def test_what_else_is_refused():
    with pytest.raises(UserError, match="two chains or more"):
        annealed(RBMPath(*TINY), even(3), 1)
    with pytest.raises(UserError, match="not finite"):
        annealed(RBMPath(torch.full((2, 1), torch.nan), *TINY[1:]), even(3), 5)
