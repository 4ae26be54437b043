"""Theory of GANs against closed forms: what docs/theory.md says and benchmarks/theory draws."""

import re
from math import cos, exp, inf, log, pi, sqrt
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmarks.theory import (
    critics,
    discriminators,
    distances,
    divergences,
    field,
    order,
    saturation,
    small_gan,
)
from benchmarks.theory.__main__ import FIGURES
from benchmarks.theory.games import dirac, game_of, product, slopes, trajectory, update_matrix
from benchmarks.theory.line import GRID, Normal, integral, log_ratio, noise
from benchmarks.theory.training import rows
from simulacra.costs.adversarial import classify
from simulacra.costs.divergences import (
    F_DIVERGENCES,
    JENSEN_SHANNON,
    Gaussian,
    gaussian_alpha,
    gaussian_kl,
    gaussian_pearson,
    gaussian_squared_hellinger,
)
from simulacra.game import Clock, consensus, extragradient, leave
from simulacra.jacobian import at_once, eigenvalues, jacobian
from simulacra.optimizers import SGD
from simulacra.rules import half_squared_field

ROOT = Path(__file__).parents[1]
P, Q = Normal(-1.0, 1.0), Normal(1.0, 0.6)
X = torch.linspace(-3.0, 3.0, 121, dtype=torch.float64)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


# The best discriminator.


def test_the_best_discriminator_is_p_over_p_plus_q():
    """At every x the cost −p log D − q log(1 − D) is flat at D = p/(p + q), and convex in the score: the least."""
    p, q = P.log_density(X).exp(), Q.log_density(X).exp()
    score = (p / (p + q)).logit().requires_grad_()
    terms = classify(score, score)
    (flat,) = torch.autograd.grad((p * terms["real"] + q * terms["fake"]).sum(), score)
    assert flat.abs().max() < 1e-15


def test_a_trained_discriminator_comes_close_to_it_where_there_are_samples():
    seen = P.log_density(X).exp() + Q.log_density(X).exp() > 0.05
    found = discriminators.trained_discriminator(P, Q)(X[:, None])[:, 0].detach().sigmoid()
    best = 1 / (1 + (Q.log_density(X) - P.log_density(X)).exp())
    assert (found - best)[seen].abs().max() < 0.05


@pytest.mark.parametrize("q", [Q, Normal(-1.0, 1.0), Normal(0.3, 2.0), Normal(4.0, 1.0)])
def test_the_value_at_the_best_discriminator_is_twice_js_less_two_log_two(q):
    value, js = discriminators.value_at_best(P, q), discriminators.jensen_shannon(P, q)
    assert value == pytest.approx(2 * js - 2 * log(2), abs=1e-9)
    # The library's f has twice JS for it: D_f = ∫ q f(p/q).
    weight = q.log_density(GRID).exp()
    ratio = log_ratio(P, q, GRID).clamp(-300, 300).exp()
    assert integral(weight * JENSEN_SHANNON.f(ratio)) == pytest.approx(2 * js, abs=1e-9)


def test_the_generators_best_value_is_minus_two_log_two_at_the_data_alone():
    assert discriminators.value_at_best(P, P) == pytest.approx(-2 * log(2), abs=1e-12)
    assert discriminators.value_at_best(P, Normal(-1.0, 1.05)) > -2 * log(2) + 1e-4
    far = discriminators.value_at_best(P, Normal(15.0, 1.0))
    assert far == pytest.approx(0.0, abs=1e-9)  # JS = log 2: nothing in common


# f-divergences.

CLOSED = {
    "kl": gaussian_kl,
    "reverse-kl": lambda p, q: gaussian_kl(q, p),
    "pearson": gaussian_pearson,
    "hellinger": gaussian_squared_hellinger,
    "alpha": lambda p, q: gaussian_alpha(p, q, 1.5),
}


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_a_critic_of_samples_shows_each_divergence_to_two_percent(name):
    """Between N(0, 1) and N(½, 1.2²), whose divergence is known where a closed form is; never more than all of it."""
    p, q, divergence = Normal(0.0, 1.0), Normal(0.5, 1.2), F_DIVERGENCES[name]
    if name in CLOSED:
        p_and_q = (Gaussian(number([[n.mean]]), 2 * number([[n.deviation]]).log()) for n in (p, q))
        assert divergences.f_divergence(divergence, p, q) == pytest.approx(CLOSED[name](*p_and_q).item(), rel=1e-8)
    _, bounds = divergences.fitted_bounds(divergence, p, q)
    shares = [divergences.share(divergence, p, q, bound) for bound in bounds.values()]
    assert shares[-1] >= 0.98
    assert max(shares) <= 1 + 1e-9


# Parallel lines.


@pytest.mark.parametrize("theta", [-1.0, -0.3, 1e-9, 0.02, 0.7])
def test_off_zero_kl_is_infinite_js_is_log_two_and_w_is_the_distance(theta):
    a, b = distances.lines(number(theta))
    assert distances.kl_and_js(a, b) == (inf, pytest.approx(log(2), rel=1e-12))
    assert distances.kl_and_js(b, a)[0] == inf
    assert distances.transport(a, b).item() == pytest.approx(abs(theta), rel=1e-12)


def test_on_each_other_all_three_are_zero():
    a, b = distances.lines(number(0.0))
    assert distances.kl_and_js(a, b) == (0.0, 0.0)
    assert distances.transport(a, b).item() == 0.0


@pytest.mark.parametrize("theta", [-1.0, -0.01, 0.3])
def test_w_alone_has_a_gradient_towards_the_data(theta):
    at = number(theta).requires_grad_()
    (slope,) = torch.autograd.grad(distances.transport(*distances.lines(at)), at)
    assert slope.item() == pytest.approx(theta / abs(theta), rel=1e-12)
    around = [distances.kl_and_js(*distances.lines(number(theta + step)))[1] for step in (-1e-3, 1e-3)]
    assert around[0] == pytest.approx(around[1], abs=1e-15)


# The generator's gradient under a discriminator that is right.


@given(st.floats(-30, 30))
def test_minimax_saturates_where_the_other_cost_is_steep(score):
    d = 1 / (1 + exp(-score))
    assert saturation.slope("minimax", number([score])).item() == pytest.approx(-d, rel=1e-8)
    assert saturation.slope("non-saturating", number([score])).item() == pytest.approx(-1 / (1 + exp(score)), rel=1e-8)


@pytest.mark.parametrize("gap", [0.5, 2.0, 5.0, 9.0])
def test_under_the_best_discriminator_minimax_vanishes_with_the_distance(gap):
    """The score is θ²/2 − θx, so minimax has θ ∫ pq/(p + q). As 2√(pq) ≤ p + q, the integral is at most ½ ∫ √(pq),
    which is ½ exp(−θ²/8)."""
    assert saturation.pull("minimax", gap) <= 0.5 * gap * exp(-(gap**2) / 8)
    together = saturation.pull("minimax", gap) + saturation.pull("non-saturating", gap)
    assert together == pytest.approx(gap, rel=1e-9)  # D and 1 − D add up to 1


def test_under_a_noisy_perfect_discriminator_the_other_gradient_is_cauchy():
    """−r/ε, a ratio of normals: its quartiles are ±1/0.01. Means of n values are Cauchy with the same quartiles. For
    minimax, −r/(1 − ε) is nearly normal: quartiles ±0.674, of means of n values ±0.674/√n."""
    for n in (1, 64):
        half_width = {
            name: saturation.half_width(saturation.noisy_gradients(4000 * n, name).view(4000, n).mean(1))
            for name in ("minimax", "non-saturating")
        }
        assert half_width["non-saturating"] == pytest.approx(100.0, rel=0.1)
        assert half_width["minimax"] == pytest.approx(0.6745 / sqrt(n), rel=0.1)


# A critic against exact transport.


def test_the_best_plan_on_a_line_pairs_sorted_samples():
    a, b = P.draw(64, 1), Q.draw(64, 2)
    paired = (a.sort(0).values - b.sort(0).values).abs().mean()
    assert distances.transport(a, b).item() == pytest.approx(paired.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("q", "exact"),
    [(Normal(3.0, 1.0), 3.0), (Normal(0.0, 3.0), 2 * sqrt(2 / pi)), (Normal(1.0, 2.0), 1.1666309)],
)
def test_the_closed_form_between_normals(q, exact):
    """From N(0, 1): a shift of 3; |2z| in the mean; |1 + z|, √(2/π) e^(−½) + erf(1/√2) = 0.4839414 + 0.6826895."""
    assert critics.exact_wasserstein(Normal(0.0, 1.0), q) == pytest.approx(exact, rel=1e-6)
    levels = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    z = torch.special.ndtri(levels)
    assert (z - q.mean - q.deviation * z).abs().mean().item() == pytest.approx(exact, rel=1e-3)


class Waves(nn.Module):
    """A critic of eight random waves."""

    def __init__(self, key):
        super().__init__()
        self.weights = 3 * noise(key, 3, 8)

    def forward(self, x):
        return ((self.weights[0] * x + self.weights[1]).sin() * self.weights[2]).sum(1, keepdim=True)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_any_critic_over_its_lipschitz_constant_is_a_lower_bound(key):
    a, b = P.draw(40, 1), Q.draw(40, 2)
    exact = distances.transport(a, b).item()
    assert abs(critics.estimate(Waves(key), a, b).bound) <= exact * (1 + 1e-9)


@pytest.mark.parametrize("q", [Normal(0.7, 1.5), Normal(2.0, 0.5)])
def test_a_trained_critic_comes_within_five_percent_from_below(q):
    p = Normal(0.0, 0.5)
    fitted = critics.fitted_critic(p, q, steps=400)
    exact = distances.transport(fitted.real, fitted.fake).item()
    assert all(each.bound <= exact * (1 + 1e-9) for each in fitted.estimates)
    assert fitted.estimates[-1].bound >= 0.95 * exact
    assert exact == pytest.approx(critics.exact_wasserstein(p, q), rel=0.1)  # 512 samples


@pytest.mark.parametrize(("one_sided", "end"), [(False, -0.9), (True, 1.1)])
def test_the_two_sided_penalty_can_hold_a_critic_upside_down(one_sided, end):
    """f = sx between points at 2 and at 0 costs −2s + 10(|s| − 1)², flat at s = 1.1 and at s = −0.9, a second minimum
    with a wall at 0. One-sided, the cost below 1 is −2s: no wall. Both start at −1."""
    critic = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(critic.weight, -1.0)
    real, fake = torch.full((8, 1), 2.0, dtype=torch.float64), torch.zeros(8, 1, dtype=torch.float64)
    game = critics.critic_game(critic, fake, SGD(lr=0.02), 10.0, one_sided)
    for step in range(200):
        game.step(lambda k: rows(real), Clock(step=step))
    assert critic.weight.item() == pytest.approx(end, abs=1e-9)


# Small games.


@pytest.mark.parametrize(
    ("rule", "factor"),
    [
        (leave, sqrt(1 + 0.2**2)),
        (extragradient, sqrt((1 - 0.2**2) ** 2 + 0.2**2)),
        (consensus(0.5), sqrt((1 - 0.2 * 0.5) ** 2 + 0.2**2)),
        (half_squared_field, 1 - 0.2),
    ],
)
def test_on_the_bilinear_game_each_rule_has_its_factor(rule, factor):
    """With z = x + iy the field turns z by −i, so a step multiplies z by 1 + iη; by 1 + iη(1 + iη) = 1 − η² + iη; by
    1 − ηγ + iη; and by 1 − η."""
    distances = trajectory(game_of(product, rule, 0.2, (1.0, 1.0)), 30).norm(dim=1)
    expected = sqrt(2) * factor ** torch.arange(31, dtype=torch.float64)
    assert torch.allclose(distances, expected, rtol=1e-10)
    assert (factor > 1) == (rule is leave)


@pytest.mark.parametrize(
    ("rule", "lr", "inwards"),
    [
        (extragradient, 0.98, True),
        (extragradient, 1.02, False),
        (consensus(0.5), 0.79, True),
        (consensus(0.5), 0.81, False),
        (consensus(0.26), 0.5, False),
        (consensus(0.28), 0.5, True),
        (consensus(3.7), 0.5, True),
        (consensus(3.8), 0.5, False),
    ],
)
def test_on_either_side_of_its_border_a_rule_goes_in_or_out(rule, lr, inwards):
    """η < 1 for extragradient; η (1 + γ²) < 2γ for consensus: η < 0.8 at γ = ½, and 0.268 < γ < 3.732 at η = ½."""
    path = trajectory(game_of(product, rule, lr, (1.0, 1.0)), 100).norm(dim=1)
    assert (path.diff() < 0).all() if inwards else (path.diff() > 0).all()


@pytest.mark.parametrize("lr", [0.1, 0.5, 1.5])
def test_in_turns_the_bilinear_game_stays_on_an_ellipse(lr):
    """x′ = x − ηy, y′ = y + ηx′: [[1, −η], [η, 1 − η²]], of determinant 1 and trace 2 − η², keeps x² + y² − ηxy."""
    found = update_matrix(product, lr, alternating=True)
    assert torch.allclose(found, number([[1.0, -lr], [lr, 1 - lr**2]]), rtol=1e-12)
    assert torch.linalg.det(found).item() == pytest.approx(1.0, rel=1e-12)
    assert torch.linalg.eigvals(found).abs().tolist() == pytest.approx([1.0, 1.0], rel=1e-12)
    x, y = trajectory(game_of(product, leave, lr, (1.0, 1.0), alternating=True), 100).T
    assert torch.allclose(x**2 + y**2 - lr * x * y, number(2 - lr), rtol=1e-10)


def test_in_turns_the_ellipse_opens_at_two():
    """From (1, 0) x² + y² − ηxy stays 1, so for η = 1.9, where it is at least (1 − η/2)(x² + y²), the distance is at
    most √20; for η = 2.1 the trace is −2.41, and the steps grow by 1.205 + √(1.205² − 1) = 1.877."""
    near, far = (trajectory(game_of(product, leave, lr, (1.0, 0.0), True), 60).norm(dim=1) for lr in (1.9, 2.1))
    assert near.max() <= sqrt(20)
    assert (far[-1] / far[-2]).item() == pytest.approx(1.877, rel=1e-3)


def test_in_turns_the_bilinear_game_comes_back():
    """The eigenvalues are exp(±iφ) with 2 cos φ = 2 − η²: for φ = 2π/12 every twelfth step ends where it began."""
    lr = sqrt(2 - 2 * cos(2 * pi / 12))
    path = trajectory(game_of(product, leave, lr, (1.0, 1.0), alternating=True), 36)
    assert torch.allclose(path[::12], path[:1].expand(4, 2), atol=1e-12)


def test_at_once_the_bilinear_update_grows():
    found = update_matrix(product, 0.3, alternating=False)
    assert torch.allclose(found, number([[1.0, -0.3], [0.3, 1.0]]), rtol=1e-12)
    assert torch.linalg.det(found).item() == pytest.approx(1 + 0.3**2, rel=1e-12)


def test_the_dirac_gan_does_as_the_bilinear_game_and_r1_brings_it_in():
    """Near 0 its field is half the bilinear one: extragradient's factor is |1 − η²/4 + iη/2| = 0.99504 for η = 0.2,
    and 0.99504³⁰⁰ = 0.225."""

    def last(rule, alternating=False, gamma=0.0):
        game = game_of(dirac, rule, 0.2, (0.5, 0.5), alternating, gamma)
        return trajectory(game, 300).norm(dim=1) / sqrt(0.5)

    assert last(leave)[-1] > 2
    turns = last(leave, alternating=True)
    assert 0.8 < turns.min() < turns.max() < 1.25
    assert last(leave, gamma=1.0)[-1] < 1e-6
    assert last(consensus(0.5))[-1] < 0.05
    assert last(extragradient)[-1].item() == pytest.approx(0.225, rel=0.05)


def test_the_field_alone_stops_where_nobody_wants_to_be():
    """v = x³ − x. Descent leaves 0.3 for the minimum 1. ½v² falls on the way to 0 too, where the cost is greatest."""
    ends = {rule: trajectory(field.double_well(rule, 0.3), 300)[-1].item() for rule in (leave, half_squared_field)}
    assert ends[leave] == pytest.approx(1.0, abs=1e-9)
    assert ends[half_squared_field] == pytest.approx(0.0, abs=1e-9)
    assert slopes(field.double_well(leave, 0.0)).item() == 1.0  # v′ = −1 there: descent runs away


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95, 1.05, 2.0, 10.0])
def test_consensus_holds_a_maximum_where_gamma_times_its_curvature_is_above_one(gamma):
    """Near 0 v = −x and v′ = −1: x changes by −η(γ − 1)x, away for γ < 1 and back for γ > 1."""
    start, after = trajectory(field.double_well(consensus(gamma), 1e-4, lr=0.1), 1)[:, 0].tolist()
    assert after / start == pytest.approx(1 - 0.1 * (gamma - 1), abs=1e-6)
    assert (after < start) == (gamma > 1)
    at = field.under_consensus(slopes(field.double_well(leave, 0.0)), gamma)
    assert at.item() == pytest.approx(1 - gamma)


@pytest.mark.parametrize(("gamma", "border"), [(1.2, 0.2357), (2.0, 0.4082), (10.0, 0.5477)])
def test_consensus_ends_at_the_maximum_from_all_starts_within_its_border(gamma, border):
    """√((1 − 1/γ)/3): √(1/18), √(1/6), √0.3. From 0.3, that is γ > 1/0.73 = 1.37."""
    assert field.border(gamma) == pytest.approx(border, abs=1e-4)
    inside, outside = (
        trajectory(field.double_well(consensus(gamma), start, lr=0.04), 600)[-1, 0].item()
        for start in (0.95 * border, 1.05 * border)
    )
    assert abs(inside) < 0.05
    assert outside == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 3.0])
def test_consensus_moves_the_bilinear_eigenvalues_left_by_gamma(gamma):
    """J − γJᵀJ of J = [[0, −1], [1, 0]]: −γ ± i, so a step's factor is |1 − ηγ + iη|."""
    found = eigenvalues(field.under_consensus(slopes(game_of(product, leave, 0.1, (0.0, 0.0))), gamma))
    assert sorted(found.tolist(), key=lambda each: each.imag) == pytest.approx([-gamma - 1j, -gamma + 1j])


def test_on_a_small_gan_consensus_of_one_learns_and_of_ten_rests_where_descent_would_leave():
    """After 500 steps from W = 2.50: 0.13 with γ = 1, where the largest eigenvalues only turn; 3.79 with γ = 10, where
    J has 0.30 and 0.36, which drive off, and J − 10JᵀJ none above 0.006."""
    ends = {}
    for gamma in (1.0, 10.0):
        game = small_gan.small_gan(gamma)
        missed = small_gan.misses(game, 500)
        ends[gamma] = missed[-1], jacobian(at_once(game, rows(small_gan.BUMP)))
        assert missed[0] == pytest.approx(2.50, abs=0.01)
    learnt, there = ends[1.0]
    assert learnt < 0.5
    assert eigenvalues(there).real[0] < 0.05 < 0.1 < eigenvalues(there).imag.max()
    held, there = ends[10.0]
    assert held > 2.5
    assert eigenvalues(there).real[1] > 0.2
    assert eigenvalues(field.under_consensus(there, 10.0)).real[0] < 0.02


def at_rest(payoff, gamma=0.0):
    found = eigenvalues(slopes(game_of(payoff, leave, 0.1, (0.0, 0.0), gamma=gamma)))
    return sorted(found.tolist(), key=lambda each: (each.real, each.imag))


def test_at_the_bilinear_equilibrium_the_eigenvalues_are_plus_and_minus_i():
    assert at_rest(product) == pytest.approx([-1j, 1j], abs=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.25, 0.8, 1.25, 2.6])
def test_r1_moves_the_dirac_gans_eigenvalues_to_the_left(gamma):
    """−γ/2 ± √(γ²/4 − ¼), as f′(0) = ½. For γ = 1.25: √(0.390625 − 0.25) = 0.375, so −1 and −0.25."""
    root = (gamma**2 / 4 - 0.25 + 0j) ** 0.5
    expected = sorted([-gamma / 2 - root, -gamma / 2 + root], key=lambda each: (each.real, each.imag))
    assert at_rest(dirac, gamma) == pytest.approx(expected, abs=1e-12)
    assert gamma != 1.25 or expected == pytest.approx([-1.0, -0.25], abs=1e-12)


# Who moves first.


def test_the_order_of_the_players_matters_where_the_generator_has_one_mode_only():
    """exp V is (0.32, 0.25, 0.08), (0.08, 0.25, 0.32) and, for half on each, (0.16, 0.25, 0.16)."""
    table = order.payoffs()
    expected = number([[0.32, 0.25, 0.08], [0.08, 0.25, 0.32], [0.16, 0.25, 0.16]])
    assert torch.allclose(table.exp(), expected, rtol=1e-12)
    assert order.min_max(table[:2]) == pytest.approx(log(0.32), rel=1e-12)
    assert order.max_min(table[:2]) == pytest.approx(log(0.25), rel=1e-12)
    assert order.min_max(table) == order.max_min(table) == pytest.approx(-2 * log(2), rel=1e-12)


def test_whoever_answers_a_discriminator_that_errs_collapses():
    """Against (0.2, 0.8) the best answer is all on B, not half on each; only a first move makes it half, half."""
    table = order.payoffs()
    assert table.argmin(0)[[0, 2]].tolist() == [1, 0]
    assert table.max(1).values.argmin().item() == 2


@given(st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=2, max_size=4))
def test_whoever_moves_second_never_loses_by_it(table):
    assert order.max_min(number(table)) <= order.min_max(number(table))


# The page.


def test_the_page_shows_every_figure_and_names_every_test():
    page = (ROOT / "docs" / "theory.md").read_text("utf-8")
    shown = set(re.findall(r"images/theory-([a-z-]+)\.png", page))
    assert shown == set(FIGURES)
    own = "test_the_page_shows_every_figure_and_names_every_test"
    assert {*re.findall(r"`(test_\w+)`", page), own} == {name for name in globals() if name.startswith("test_")}
