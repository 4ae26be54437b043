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


def slope(cost, scores):
    """The derivative of each value by its own score."""
    scores = scores.clone().requires_grad_()
    return torch.autograd.grad(cost(scores).sum(), scores)[0]


def total(terms):
    return torch.cat([term.flatten() for term in terms.values()]).sum()


def discriminator_slopes(objective, real, fake):
    real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
    return torch.autograd.grad(total(objective.discriminator(real, fake)), (real, fake))


def fool(name, fake, real=None):
    objective = OBJECTIVES[name]
    (value,) = (objective.generator(fake, real) if objective.paired else objective.generator(fake)).values()
    return value


def raised(t):
    return t.clamp(min=0)


# By hand, with s the score and D = sigmoid(s): d/ds −log D = D − 1, d/ds −log(1 − D) = D, and for f-GAN −g_f'(s) and
# f*'(g_f(s)) · g_f'(s). Of α = 3/2, f*(t) = ⅔((1 + t/2)³ − 1), so f*' = (1 + t/2)² down to t = −2.
CLASSIFY = (lambda s: s.sigmoid() - 1, lambda s: s.sigmoid())
SLOPES = {
    "minimax": (*CLASSIFY, lambda s: -s.sigmoid()),
    "non-saturating": (*CLASSIFY, lambda s: s.sigmoid() - 1),
    "maximum-likelihood": (*CLASSIFY, lambda s: -s.exp()),
    "least-squares": (lambda s: s - 1, lambda s: s, lambda s: s - 1),
    "least-squares-pearson": (lambda s: s - 1, lambda s: s + 1, lambda s: s),
    "wasserstein": (lambda s: -torch.ones_like(s), torch.ones_like, lambda s: -torch.ones_like(s)),
    "hinge": (lambda s: -(s < 1).double(), lambda s: (s > -1).double(), lambda s: -torch.ones_like(s)),
    "f-kl": (lambda s: -torch.ones_like(s), lambda s: (s - 1).exp(), lambda s: -(s - 1).exp()),
    "f-reverse-kl": (lambda s: -(-s).exp(), torch.ones_like, lambda s: -torch.ones_like(s)),
    "f-pearson": (lambda s: -torch.ones_like(s), lambda s: 1 + s / 2, lambda s: -1 - s / 2),
    "f-hellinger": (lambda s: -(-s).exp(), lambda s: s.exp(), lambda s: -s.exp()),
    "f-jensen-shannon": (*CLASSIFY, lambda s: -s.sigmoid()),
    "f-gan": (*CLASSIFY, lambda s: -s.sigmoid()),
    "f-total-variation": (
        lambda s: -0.5 / s.cosh() ** 2,
        lambda s: 0.5 / s.cosh() ** 2,
        lambda s: -0.5 / s.cosh() ** 2,
    ),
    "f-alpha": (lambda s: -torch.ones_like(s), lambda s: raised(1 + s / 2) ** 2, lambda s: -(raised(1 + s / 2) ** 2)),
}


@pytest.mark.parametrize("name", SLOPES)
def test_gradients_by_the_scores_are_the_papers(name):
    real, fake, generator = SLOPES[name]
    of_real, of_fake = discriminator_slopes(OBJECTIVES[name], SCORES, SCORES.flip(0))
    assert torch.allclose(of_real, real(SCORES))
    assert torch.allclose(of_fake, fake(SCORES.flip(0)))
    assert torch.allclose(slope(lambda s: fool(name, s), SCORES), generator(SCORES))


def test_every_objective_has_its_gradients_checked():
    assert set(OBJECTIVES) == {*SLOPES, "relativistic"}


def test_gradients_of_pairs_depend_on_the_difference():
    """d/dΔ −log sigmoid(Δ) = sigmoid(Δ) − 1 with Δ = C(x) − C(G(z)), and the generator's is the mirror."""
    real, fake = SCORES, 0.5 * SCORES.flip(0) + 1
    of_real, of_fake = discriminator_slopes(OBJECTIVES["relativistic"], real, fake)
    assert torch.allclose(of_real, (real - fake).sigmoid() - 1)
    assert torch.allclose(of_fake, 1 - (real - fake).sigmoid())
    assert torch.allclose(slope(lambda s: fool("relativistic", s, real), fake), (fake - real).sigmoid() - 1)


@pytest.mark.parametrize(
    ("name", "real", "fake", "generator"),
    [
        ("minimax", -D.log(), -(1 - D).log(), (1 - D).log()),
        ("non-saturating", -D.log(), -(1 - D).log(), -D.log()),
        ("maximum-likelihood", -D.log(), -(1 - D).log(), -D / (1 - D)),
        ("least-squares", (SCORES - 1) ** 2 / 2, SCORES**2 / 2, (SCORES - 1) ** 2 / 2),
        ("least-squares-pearson", (SCORES - 1) ** 2 / 2, (SCORES + 1) ** 2 / 2, SCORES**2 / 2),
        ("wasserstein", -SCORES, SCORES, -SCORES),
        # At −3, −½, 0, ½, 3: max(0, 1 − s) and max(0, 1 + s).
        ("hinge", torch.tensor([4, 1.5, 1, 0.5, 0]).double(), torch.tensor([0, 0.5, 1, 1.5, 4]).double(), -SCORES),
        ("f-gan", -D.log(), -(1 - D).log(), (1 - D).log()),
        ("f-jensen-shannon", -D.log() - log(2), -(1 - D).log() - log(2), (1 - D).log() + log(2)),
    ],
)
def test_values_are_the_papers(name, real, fake, generator):
    terms = OBJECTIVES[name].discriminator(SCORES, SCORES)
    assert torch.allclose(terms["real"], real)
    assert torch.allclose(terms["fake"], fake)
    assert torch.allclose(fool(name, SCORES), generator)


def test_the_non_saturating_gradient_is_the_minimax_one_by_the_odds_of_being_fake():
    ratio = slope(lambda s: fool("non-saturating", s), SCORES) / slope(lambda s: fool("minimax", s), SCORES)
    assert torch.allclose(ratio, (1 - D) / D)


def test_where_the_discriminator_is_sure_only_the_non_saturating_cost_teaches():
    sure = torch.tensor([-20.0], dtype=torch.float64)
    assert slope(lambda s: fool("non-saturating", s), sure).item() == pytest.approx(-1, abs=1e-8)
    assert abs(slope(lambda s: fool("minimax", s), sure).item()) < 1e-8
    assert abs(slope(lambda s: fool("maximum-likelihood", s), sure).item()) < 1e-8


def test_at_the_equilibrium_the_value_of_the_game_is_minus_log_four():
    terms = OBJECTIVES["minimax"].discriminator(torch.zeros(1), torch.zeros(1))
    assert total(terms).item() == pytest.approx(log(4))
    assert fool("minimax", torch.zeros(1)).item() == pytest.approx(-log(2))
    assert fool("non-saturating", torch.zeros(1)).item() == pytest.approx(log(2))
    assert fool("maximum-likelihood", torch.zeros(1)).item() == -1.0


# The one score that the best discriminator gives all samples where G is the data; at every score for Wasserstein. For
# f-GAN it is where g_f(v) = f'(1): 1 for KL, −exp(−v) = −1 for the reverse, else 0.
NEUTRAL = dict.fromkeys(OBJECTIVES, 0.0) | {"least-squares": 0.5, "f-kl": 1.0}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_discriminator_rests_where_both_sides_are_alike(name):
    at = torch.full((1,), NEUTRAL[name], dtype=torch.float64)
    for shift, rests in ((0.0, True), (0.3, name in ("wasserstein", "hinge", "relativistic", "f-total-variation"))):
        of_real, of_fake = discriminator_slopes(OBJECTIVES[name], at + shift, at + shift)
        assert ((of_real + of_fake).abs().item() < 1e-12) is rests


P, Q = torch.tensor([0.5, 0.3, 0.2, 0.0]).double(), torch.tensor([0.1, 0.3, 0.4, 0.2]).double()
"""Two distributions on four points: the data's and the generator's."""


def kl(p, q):
    return torch.where(p > 0, p * (p / q).log(), 0.0).sum()


def best(name, start):
    """The scores of four points that the discriminator of `name` is best at, found by Newton's method on its cost."""
    scores = start.clone().requires_grad_()
    for _ in range(50):
        terms = OBJECTIVES[name].discriminator(scores, scores)
        (gradient,) = torch.autograd.grad((P * terms["real"] + Q * terms["fake"]).sum(), scores, create_graph=True)
        (curvature,) = torch.autograd.grad(gradient.sum(), scores)
        scores = (scores - gradient / curvature).detach().requires_grad_()
    return scores.detach()


def test_the_value_of_minimax_at_the_best_discriminator_is_the_jensen_shannon_divergence():
    scores = (P / Q).log()  # D* = p/(p + q), −∞ where there is no data
    terms = OBJECTIVES["minimax"].discriminator(scores, scores)
    cost = torch.where(P > 0, P * terms["real"], 0.0).sum() + (Q * terms["fake"]).sum()
    middle = 0.5 * (P + Q)
    jensen_shannon = 0.5 * (kl(P, middle) + kl(Q, middle))
    assert -cost.item() == pytest.approx(2 * jensen_shannon.item() - 2 * log(2))


def test_maximum_likelihoods_weights_at_the_best_discriminator_are_the_density_ratios():
    """E_q[p/q ∇log q] = E_p[∇log q], the gradient of the likelihood (Goodfellow 2016, §3.2.4)."""
    assert torch.allclose(fool("maximum-likelihood", (P / Q).log()), -P / Q)


def test_both_codings_of_least_squares_have_their_best_discriminators():
    """D* = (bp + aq)/(p + q) (Mao et al. 2017, eq. 5)."""
    assert torch.allclose(best("least-squares", torch.zeros(4).double()), P / (P + Q))
    assert torch.allclose(best("least-squares-pearson", torch.zeros(4).double()), (P - Q) / (P + Q))


def test_pearsons_coding_of_least_squares_measures_chi_squared():
    """Twice the generator's cost over both sides at D* is ∫ (2q − (p + q))² / (p + q) (Mao et al. 2017, §3.2.2)."""
    cost = (P + Q) * fool("least-squares-pearson", best("least-squares-pearson", torch.zeros(4).double()))
    assert 2 * cost.sum().item() == pytest.approx(((2 * Q - (P + Q)) ** 2 / (P + Q)).sum().item())


def test_the_generator_of_least_squares_rests_at_its_own_code():
    assert slope(lambda s: fool("least-squares", s), torch.ones(1)).item() == 0.0
    assert slope(lambda s: fool("least-squares-pearson", s), torch.zeros(1)).item() == 0.0


def test_the_hinge_asks_for_nothing_beyond_its_margin():
    beyond = torch.tensor([1.5, 40.0])
    assert [g.tolist() for g in discriminator_slopes(OBJECTIVES["hinge"], beyond, -beyond)] == [[0.0, 0.0]] * 2
    within = torch.tensor([0.9, -40.0])
    assert [g.tolist() for g in discriminator_slopes(OBJECTIVES["hinge"], within, -within)] == [[-1, -1], [1, 1]]


@given(st.floats(-100, 100))
def test_a_constant_added_to_all_scores_changes_no_pair(constant):
    real, fake = drawn(6), drawn(6, seed=1)
    objective = OBJECTIVES["relativistic"]
    moved = objective.discriminator(real + constant, fake + constant)["pair"]
    assert torch.allclose(moved, objective.discriminator(real, fake)["pair"])
    assert torch.allclose(fool("relativistic", fake + constant, real + constant), fool("relativistic", fake, real))


def test_row_i_is_paired_with_row_i_whatever_the_shapes():
    real, fake = torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, -1.0])
    expected = [log(1 + exp(2.0)), log(1 + exp(-3.0))]
    assert OBJECTIVES["relativistic"].discriminator(real, fake)["pair"].tolist() == pytest.approx(expected)


def test_a_pair_takes_two():
    with pytest.raises(ValueError, match="needs the scores of real"):
        OBJECTIVES["relativistic"].generator(SCORES)
    with pytest.raises(ValueError, match="5 real scores cannot be paired with 4"):
        OBJECTIVES["relativistic"].generator(SCORES[:4], SCORES)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_there_is_one_value_for_each_sample(name, shape):
    real, fake = drawn(*shape), drawn(*shape, seed=1)
    objective = OBJECTIVES[name]
    values = [*objective.discriminator(real, fake).values(), *objective.generator(fake, real).values()]
    assert {value.numel() for value in values} == {5}


HUGE = torch.tensor([-1e4, 1e4])
INFINITE = {  # of real, fake and the generator's terms, which are infinite at −10⁴ and at 10⁴, as their docstrings say
    "maximum-likelihood": ([0, 0], [0, 0], [0, 1]),
    "f-kl": ([0, 0], [0, 1], [0, 1]),
    "f-reverse-kl": ([1, 0], [0, 0], [0, 0]),
    "f-hellinger": ([1, 0], [0, 1], [0, 1]),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_large_scores_give_numbers_and_infinities_only_where_documented(name):
    objective = OBJECTIVES[name]
    values = [*objective.discriminator(HUGE, HUGE).values(), *objective.generator(HUGE, HUGE).values()]
    assert not any(value.isnan().any() for value in values)
    assert [value.isinf().int().tolist() for value in values] == list(INFINITE.get(name, [[0, 0]] * len(values)))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_gradient_at_large_scores_is_not_a_number(name):
    slopes = discriminator_slopes(OBJECTIVES[name], HUGE, HUGE.flip(0))
    assert not any(each.isnan().any() for each in slopes)
    assert not slope(lambda s: fool(name, s, HUGE), HUGE.flip(0)).isnan().any()


def test_large_scores_do_not_overflow():
    for name in ("minimax", "non-saturating"):
        assert OBJECTIVES[name].discriminator(HUGE, HUGE)["real"].tolist() == [1e4, 0.0]
        assert OBJECTIVES[name].discriminator(HUGE, HUGE)["fake"].tolist() == [0.0, 1e4]
    assert fool("minimax", HUGE).tolist() == [0.0, -1e4]
    assert fool("non-saturating", HUGE).tolist() == [1e4, 0.0]


def test_every_objective_is_listed_under_its_name():
    assert all(name == objective.name for name, objective in OBJECTIVES.items())


def test_scores_are_logits_where_the_best_score_is_the_log_of_the_density_ratio():
    for name, objective in OBJECTIVES.items():
        p, q = P[:3], Q[:3]  # p/q is 5, 1 and ½
        of_real, of_fake = discriminator_slopes(objective, (p / q).log(), (p / q).log())
        rests = bool(((p * of_real + q * of_fake).abs() < 1e-12).all())
        assert objective.probability is rests, name


# Likelihoods


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


def test_bernoulli_has_the_gradients_it_says_twice():
    logits, x = drawn(4, 6).requires_grad_(), drawn(4, 6, seed=1).sigmoid().requires_grad_()
    of_logits, of_x = torch.autograd.grad(bernoulli(logits, x).sum(), (logits, x))
    assert torch.allclose(of_logits, logits.sigmoid() - x)
    assert torch.equal(of_x, -logits)
    assert torch.autograd.gradcheck(bernoulli, (logits, x))
    assert torch.autograd.gradgradcheck(bernoulli, (logits, x))


def test_bernoulli_has_gradients_row_by_row():
    logits, x = drawn(4, 6), drawn(4, 6, seed=1).sigmoid()
    each = torch.func.vmap(torch.func.grad(lambda a, b: bernoulli(a[None], b[None]).sum()))(logits, x)
    assert torch.allclose(each, logits.sigmoid() - x)


@pytest.mark.parametrize("scale", [0.01, 1.0, 8.0, 17.0, 40.0])
def test_bernoulli_in_float32_is_off_by_less_than_its_sum_of_pixels_must_be(scale):
    logits = scale * drawn(50, 784).float()
    x = (logits > 0).float()
    exact = bernoulli(logits.double(), x.double())
    assert torch.allclose(bernoulli(logits, x).double(), exact, rtol=1e-6, atol=784 * 6e-8)


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
