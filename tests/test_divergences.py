"""f-divergences and their bounds against definitions, quadrature and critics; closed forms between Gaussians."""

from math import e, exp, inf, log, sqrt
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

from simulacra.costs.adversarial import OBJECTIVES, f_gan
from simulacra.costs.divergences import (
    F_DIVERGENCES,
    Gaussian,
    alpha_divergence,
    gaussian_alpha,
    gaussian_kl,
    gaussian_pearson,
    gaussian_squared_hellinger,
    kl_standard_normal,
    variational_bound,
)

ALPHAS = {f"alpha={a:g}": alpha_divergence(a) for a in (-1.0, 0.25, 0.5, 1.2, 2.0, 3.0)}
ALL = {**F_DIVERGENCES, **ALPHAS}


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def gaussian(mean, deviation):
    return Gaussian(tensor([mean]), 2 * tensor([deviation]).log())


# Closed forms of p = N(0, 1) and q = N(½, 1.2²), against quadrature of the definitions

P: Any = norm(0.0, 1.0)
Q: Any = norm(0.5, 1.2)
GAUSSIANS = gaussian(0.0, 1.0), gaussian(0.5, 1.2)


def integral(integrand):
    return quad(integrand, -12, 12, epsabs=1e-12, epsrel=1e-12, limit=200)[0]


def kl(p, q):
    return integral(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)))


def jensen_shannon():
    def against_the_middle(p):
        return integral(lambda x: p.pdf(x) * (p.logpdf(x) - log(0.5 * (P.pdf(x) + Q.pdf(x)))))

    return 0.5 * (against_the_middle(P) + against_the_middle(Q))


def total_variation():
    """P is above Q between the roots of log p/q = x²(1/2.88 − ½) − x/2.88 + 0.25/2.88 + log 1.2."""
    a, b, c = 1 / 2.88 - 0.5, -1 / 2.88, 0.25 / 2.88 + log(1.2)
    low, high = sorted((-b + sign * sqrt(b * b - 4 * a * c)) / (2 * a) for sign in (1, -1))
    return (P.cdf(high) - P.cdf(low)) - (Q.cdf(high) - Q.cdf(low))


def alpha(a):
    return (integral(lambda x: exp(a * P.logpdf(x) + (1 - a) * Q.logpdf(x))) - 1) / (a * (a - 1))


TRUE = {
    "kl": lambda: kl(P, Q),
    "reverse-kl": lambda: kl(Q, P),
    "pearson": lambda: integral(lambda x: (P.pdf(x) - Q.pdf(x)) ** 2 / Q.pdf(x)),
    "hellinger": lambda: integral(lambda x: (sqrt(P.pdf(x)) - sqrt(Q.pdf(x))) ** 2),
    "jensen-shannon": lambda: 2 * jensen_shannon(),
    "gan": lambda: 2 * jensen_shannon() - log(4),
    "total-variation": total_variation,
    "alpha": lambda: alpha(1.5),
    **{f"alpha={a:g}": lambda a=a: alpha(a) for a in (-1.0, 0.25, 0.5, 1.2, 2.0, 3.0)},
}


@pytest.mark.parametrize(
    ("closed", "name"),
    [
        (gaussian_kl, "kl"),
        (lambda p, q: gaussian_kl(q, p), "reverse-kl"),
        (gaussian_pearson, "pearson"),
        (gaussian_squared_hellinger, "hellinger"),
        *((lambda p, q, a=a: gaussian_alpha(p, q, a), f"alpha={a:g}") for a in (-1.0, 0.25, 0.5, 1.2, 2.0, 3.0)),
    ],
)
def test_closed_forms_are_the_integrals(closed, name):
    assert closed(*GAUSSIANS).item() == pytest.approx(TRUE[name](), rel=1e-8)


def test_closed_forms_by_hand():
    """N(0, 1) and N(1, 1): KL ½, χ² e − 1, ∫ (√p − √q)² = 2(1 − e^(−1/8))."""
    p, q = gaussian(0.0, 1.0), gaussian(1.0, 1.0)
    assert gaussian_kl(p, q).item() == pytest.approx(0.5)
    assert gaussian_pearson(p, q).item() == pytest.approx(e - 1)
    assert gaussian_squared_hellinger(p, q).item() == pytest.approx(2 * (1 - exp(-1 / 8)))


def test_dimensions_of_a_row_are_independent():
    """KLs add up, and one more than χ² multiplies: of (1, 0) and (0, 0) in two dimensions, as of 1 and 0 in one."""
    p = Gaussian(tensor([1.0, 0.0], [1.0, 2.0]), torch.zeros(2, 2).double())
    q = Gaussian(torch.zeros(2, 2).double(), torch.zeros(2, 2).double())
    assert gaussian_kl(p, q).tolist() == pytest.approx([0.5, 2.5])
    assert gaussian_pearson(p, q).tolist() == pytest.approx([e - 1, e**5 - 1])
    assert torch.allclose(gaussian_kl(p, q), kl_standard_normal(*p))


def test_chi_squared_is_infinite_where_the_tails_are_too_heavy():
    assert gaussian_pearson(gaussian(0.0, 1.5), gaussian(0.0, 1.0)).item() == inf
    assert gaussian_pearson(gaussian(0.0, 1.4), gaussian(0.0, 1.0)).isfinite()


# Generator functions, conjugates, activations


@pytest.mark.parametrize("name", ALL)
def test_f_is_nought_at_one_and_convex(name):
    u = torch.linspace(0.01, 20, 4000, dtype=torch.float64)
    f = ALL[name].f(u)
    assert (f[2:] - 2 * f[1:-1] + f[:-2] > -1e-12).all()
    assert ALL[name].f(tensor(1.0)).item() == pytest.approx(-log(4) if name == "gan" else 0, abs=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_the_best_critic_is_the_derivative_of_f(name):
    u = tensor(0.01, 0.3, 0.9, 1.1, 4.0, 90.0).requires_grad_()
    assert torch.allclose(torch.autograd.grad(ALL[name].f(u).sum(), u)[0], ALL[name].optimal(u))


@pytest.mark.parametrize("name", ALL)
@given(log_u=st.floats(-5, 5), v=st.floats(-8, 8))
def test_fenchel_and_young(name, log_u, v):
    """f(u) + f*(t) ≥ ut for all t in the range of g_f, with equality at t = f'(u)."""
    each, u = ALL[name], tensor(exp(log_u))
    f, t, touching = each.f(u), each.activation(tensor(v)), each.optimal(u)
    size = 1e-9 * (1 + f.abs() + (u * t).abs() + each.conjugate(t).abs())
    assert f + each.conjugate(t) >= u * t - size
    assert (f + each.conjugate(touching)).item() == pytest.approx((u * touching).item(), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("name", ALL)
def test_activations_rise_and_the_conjugate_of_a_score_is_theirs(name):
    v = torch.linspace(-8, 8, 161, dtype=torch.float64)
    t = ALL[name].activation(v)
    assert (t.diff() > 0).all()
    assert torch.allclose(ALL[name].conjugate_of_score(v), ALL[name].conjugate(t), rtol=1e-7, atol=1e-9)


def test_the_conjugate_of_a_score_is_exact_where_the_composition_is_not():
    v = torch.tensor([-200.0, 200.0])
    assert F_DIVERGENCES["reverse-kl"].conjugate_of_score(v).tolist() == [-201.0, 199.0]
    assert F_DIVERGENCES["gan"].conjugate_of_score(v).tolist() == [0.0, 200.0]
    # α = −1: f* = 1 − √(2 softplus(−v)), which is 1 − 20 at −200 and 1 at 200.
    assert ALPHAS["alpha=-1"].conjugate_of_score(v).tolist() == pytest.approx([-19.0, 1.0])


@pytest.mark.parametrize("a", [-1.0, 0.25, 0.5, 1.2, 2.0, 3.0])
def test_scores_of_any_size_give_the_alpha_divergences_no_nan(a):
    """Infinite only for 0 < α < 1, as exp(vα/(1 − α)) at large scores is, and where powers overflow (α near 1)."""
    huge = torch.tensor([-1e4, 1e4], requires_grad=True)
    value = ALPHAS[f"alpha={a:g}"].conjugate_of_score(huge)
    (gradient,) = torch.autograd.grad(value.sum(), huge)
    assert not value.isnan().any()
    assert not gradient.isnan().any()
    assert value.isinf().tolist() == [False, 0 < a < 1]


def test_alpha_has_its_neighbours():
    u = torch.linspace(0.1, 5, 50, dtype=torch.float64)
    shifted = {"kl": F_DIVERGENCES["kl"].f(u) - (u - 1), "reverse-kl": F_DIVERGENCES["reverse-kl"].f(u) + (u - 1)}
    assert torch.allclose(alpha_divergence(1 + 1e-6).f(u), shifted["kl"], atol=1e-4)
    assert torch.allclose(alpha_divergence(1e-6).f(u), shifted["reverse-kl"], atol=1e-4)
    assert torch.allclose(alpha_divergence(2.0).f(u), 0.5 * F_DIVERGENCES["pearson"].f(u))
    assert torch.allclose(alpha_divergence(0.5).f(u), 2 * F_DIVERGENCES["hellinger"].f(u))
    for none in (0.0, 1.0):
        with pytest.raises(ValueError, match="take 'reverse-kl' for 0 and 'kl' for 1"):
            alpha_divergence(none)


# Variational bounds

X = torch.linspace(-12, 12, 40_001, dtype=torch.float64)
DENSITIES = [torch.from_numpy(law.pdf(X.numpy())) for law in (P, Q)]


@pytest.mark.parametrize("name", ALL)
def test_the_bound_is_reached_by_the_best_critic(name):
    p, q = DENSITIES
    t = ALL[name].optimal(p / q)
    bound = torch.trapezoid(p * t - q * ALL[name].conjugate(t), X)
    assert bound.item() == pytest.approx(TRUE[name](), rel=1e-6)


BEST = {  # the scores with g_f(v) = f'(u), solved by hand
    "kl": lambda u: 1 + u.log(),
    "reverse-kl": lambda u: u.log(),
    "pearson": lambda u: 2 * (u - 1),
    "hellinger": lambda u: 0.5 * u.log(),
    "jensen-shannon": lambda u: u.log(),
    "gan": lambda u: u.log(),
    "total-variation": lambda u: 50 * (u - 1).sign(),
    "alpha": lambda u: 2 * (u.sqrt() - 1),
    "alpha=0.5": lambda u: -(2 * u.rsqrt()).expm1().log(),  # softplus(−v) = 2/√u
}
REAL, FAKE = [0, 0, 1, 2], [0, 1, 1, 2]
"""Samples whose proportions are P = (½, ¼, ¼) and Q = (¼, ½, ¼)."""
RATIOS = tensor(2.0, 0.5, 1.0)


@pytest.mark.parametrize("name", BEST)
def test_the_bound_by_scores_is_the_divergence_and_any_other_score_is_below(name):
    scores = BEST[name](RATIOS)
    divergence = (tensor(0.25, 0.5, 0.25) * ALL[name].f(RATIOS)).sum().item()
    assert variational_bound(ALL[name], scores[REAL], scores[FAKE]).item() == pytest.approx(divergence)
    for k in range(20):
        other = scores + 0.3 * torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
        assert variational_bound(ALL[name], other[REAL], other[FAKE]).item() <= divergence + 1e-12


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_the_players_descend_and_ascend_the_bound(name):
    scores = BEST[name](RATIOS) + 0.1
    objective = OBJECTIVES[f"f-{name}"]
    terms = objective.discriminator(scores[REAL], scores[FAKE])
    bound = variational_bound(F_DIVERGENCES[name], scores[REAL], scores[FAKE])
    assert torch.allclose(terms["real"].mean() + terms["fake"].mean(), -bound)
    assert torch.equal(objective.generator(scores[FAKE])["fool"], -terms["fake"])


def test_the_gan_divergence_is_goodfellows_game():
    scores = tensor(-2.0, 0.0, 3.0)
    game, minimax = OBJECTIVES["f-gan"], OBJECTIVES["minimax"]
    assert torch.allclose(game.generator(scores)["fool"], minimax.generator(scores)["fool"])
    for side in ("real", "fake"):
        assert torch.allclose(game.discriminator(scores, scores)[side], minimax.discriminator(scores, scores)[side])
    alternative = -F_DIVERGENCES["gan"].activation(scores)  # Nowozin et al. 2016, §3.2
    assert torch.allclose(alternative, OBJECTIVES["non-saturating"].generator(scores)["fool"])


def trained(name):
    """The bound that a critic of 16 tanh units reaches on p and q, their expectations taken over a grid."""
    x = X[::200, None]
    p, q = (torch.from_numpy(law.pdf(x.numpy())) * (x[1] - x[0]) for law in (P, Q))
    critic = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    draws = torch.Generator().manual_seed(0)
    for parameter in critic.parameters():
        nn.init.normal_(parameter, std=0.5, generator=draws)
    objective = f_gan(F_DIVERGENCES[name])
    optimizer = torch.optim.LBFGS(critic.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def cost():
        optimizer.zero_grad()
        terms = objective.discriminator(critic(x), critic(x))
        total = (p * terms["real"] + q * terms["fake"]).sum()
        total.backward()
        return total

    optimizer.step(cost)
    return -cost().item()


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_a_trained_critic_comes_within_two_per_cent_from_below(name):
    true = TRUE[name]()
    assert true - 0.02 * abs(true) <= trained(name) <= true + 1e-9
