"""Misprints of the lectures (docs/errata.md): what a slide prints and what its paper says, both evaluated.

`printed` is always the slide's expression, written out; the paper's is the library's own.
"""

import re
from math import isnan, log
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.batch import Batch
from simulacra.game import Clock, Game, Move, Player, Round
from simulacra.optimizers import SGD
from simulacra.penalties.gradient import gradient_penalty

ROOT = Path(__file__).parents[1]
SCORES = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0], dtype=torch.float64)
P, Q = torch.tensor([0.5, 0.3, 0.2, 0.0]).double(), torch.tensor([0.1, 0.3, 0.4, 0.2]).double()
"""Two distributions on four points: the data's and the generator's."""


def slope(cost, at):
    """The derivative of the sum of `cost` by `at`."""
    at = at.clone().requires_grad_()
    return torch.autograd.grad(cost(at).sum(), at)[0]


def discriminator(name, real, fake):
    """What the library's discriminator descends: the sum of its terms' means."""
    return torch.stack([term.mean() for term in OBJECTIVES[name].discriminator(real, fake).values()]).sum()


def generator(name, fake):
    (term,) = OBJECTIVES[name].generator(fake).values()
    return term


# Least squares


def printed_least_squares(d):
    """L0: ½ D(G(z))², descended by G."""
    return 0.5 * d.square()


def test_the_printed_least_squares_generator_makes_fakes_look_fake():
    """Descended, it lowers the score of any fake above 0 towards the fakes' code; the paper's raises it up to 1."""
    between = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    assert torch.allclose(slope(printed_least_squares, between), between)
    assert torch.allclose(slope(lambda d: generator("least-squares", d), between), between - 1)


def chi_squared(q):
    """∫ (2q − (p + q))²/(p + q), Pearson's χ² of Mao et al. 2017, eq. 7; q need not sum to 1."""
    return ((q - P).square() / (P + q)).sum()


def test_the_coding_0_1_does_not_measure_pearsons_chi_squared():
    """Twice G's cost over both sides at the best D: χ² for −1, 1, 0 (Mao et al. 2017, §3.2.2). In the coding 0, 1,
    D* = p/(p + q), and both the printed and the paper's G give ½ + ¼ χ²: q² or p² over p + q, with
    q = ½(p + q) + ½(q − p)."""
    shown, chi = P + Q, chi_squared(Q)
    assert torch.allclose(2 * (shown * generator("least-squares-pearson", (P - Q) / shown)).sum(), chi)
    for cost in (printed_least_squares, lambda d: generator("least-squares", d)):
        measured = 2 * (shown * cost(P / shown)).sum()
        assert torch.allclose(measured, 0.5 + 0.25 * chi)
        assert abs(measured - chi) > 0.1


def test_the_printed_least_squares_generator_climbs_chi_squared():
    """With D held at D* = p/(p + q), as G sees it, a fake more at a point costs ½D*² there; χ² gains 1 − 4D*² by it.
    So descending what is printed, −⅛ of it and a constant, ascends χ². The paper's, ½(1 − D*)², rises with χ²."""
    best, gain = P / (P + Q), slope(chi_squared, Q)
    assert torch.allclose(printed_least_squares(best), (1 - gain) / 8)
    order = gain.argsort()
    assert (printed_least_squares(best)[order].diff() < 0).all()
    assert (generator("least-squares", best)[order].diff() > 0).all()


# Minimax


def test_the_printed_minimax_discriminator_takes_fakes_for_real():
    """L2: E log D(x) − E log(1 − D(G(z))), ascended by D. Its slope by a fake's score is D(G(z)), where the paper's
    objective has −D(G(z))."""

    def printed(fake):
        return -(1 - fake.sigmoid()).log()

    def papers(fake):
        return -OBJECTIVES["minimax"].discriminator(fake, fake)["fake"]

    assert torch.allclose(slope(printed, SCORES), SCORES.sigmoid())
    assert torch.allclose(slope(papers, SCORES), -SCORES.sigmoid())
    assert torch.allclose(papers(SCORES), -printed(SCORES))


# Wasserstein


def test_the_printed_wasserstein_objective_is_no_difference_of_means():
    """L2: E log D(x) − E log D(z). It has no meaning below 0 and changes where a constant is added to the critic; the
    paper's is defined for all critics and does not."""
    real, fake = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0])

    def printed(shift):
        return ((real + shift).log().mean() - (fake + shift).log().mean()).item()

    def papers(shift):
        return -discriminator("wasserstein", real + shift, fake + shift).item()

    assert printed(0.0) == pytest.approx(0.5 * (log(2.0) - log(1.5)), abs=1e-6)
    assert printed(1.0) != pytest.approx(printed(0.0), abs=1e-2)
    assert isnan(printed(-4.0))
    assert papers(1.0) == papers(0.0) == papers(-4.0) == -0.25  # 1.5 − 1.75


REAL, FAKE = torch.full((8, 1), 2.0, dtype=torch.float64), torch.zeros(8, 1, dtype=torch.float64)
WEIGHT = 10.0


def line(slope_):
    """The critic f(x) = sx: 2s at the real point 2, 0 at the fake one."""
    critic = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(critic.weight, slope_)
    return critic


def penalty(critic):
    return gradient_penalty(critic, REAL, FAKE, torch.full((8,), 0.5, dtype=torch.float64), WEIGHT).mean()


def ascended_by(slope_, objective):
    """The derivative of an objective of the critic f(x) = sx by s."""
    critic = line(slope_)
    (found,) = torch.autograd.grad(objective(critic), [critic.weight])
    return found.item()


def papers_objective(critic):
    """Minus what the library's critic descends: E f(x) − E f(G(z)) − λ(‖∇f‖ − 1)², here 2s − 10(|s| − 1)²."""
    return -(discriminator("wasserstein", critic(REAL), critic(FAKE)) + penalty(critic))


@pytest.mark.parametrize(("s", "expected"), [(0.5, 12.0), (1.0, 2.0), (1.1, 0.0), (1.2, -2.0), (3.0, -38.0)])
def test_the_papers_penalised_critic_has_its_best_slope_near_one(s, expected):
    """2 − 20(s − 1): up to s = 1.1 and down from there."""
    assert ascended_by(s, papers_objective) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("s", "expected"), [(0.5, -12.0), (1.0, -2.0), (1.2, 2.0), (3.0, 38.0)])
def test_the_printed_penalised_critic_would_be_maximised_upside_down(s, expected):
    """L2: max_D E f(G(z)) − E f(x) + λ(‖∇f‖ − 1)², here −2s + 10(s − 1)². That is what the paper's critic descends:
    ascended, it leaves the paper's best slope, s = 1.1, on both sides, and scores fakes above real samples."""

    def printed(critic):
        return critic(FAKE).mean() - critic(REAL).mean() + penalty(critic)

    assert ascended_by(s, printed) == pytest.approx(expected, abs=1e-9)
    assert ascended_by(s, papers_objective) == pytest.approx(-expected, abs=1e-9)


@pytest.mark.parametrize(("s", "expected"), [(1.0, 2.0), (1.1, 4.0), (3.0, 42.0), (100.0, 1982.0)])
def test_the_printed_plus_before_the_gradient_penalty_rewards_steep_critics(s, expected):
    """L4: W = E f(x) − E f(G(z)) + λ(‖∇f‖ − 1)², the largest over f: here 2s + 10(s − 1)², whose slope 2 + 20(s − 1)
    grows without end, and which is above the distance, 2, where s is above 1. The paper's takes the penalty off."""

    def printed(critic):
        return critic(REAL).mean() - critic(FAKE).mean() + penalty(critic)

    assert ascended_by(s, printed) == pytest.approx(expected, abs=1e-9)
    assert ascended_by(s, papers_objective) == pytest.approx(4 - expected, abs=1e-9)
    critic = line(s)
    assert (printed(critic) - papers_objective(critic)).item() == pytest.approx(2 * WEIGHT * (s - 1) ** 2, abs=1e-9)


# Factors


def test_the_printed_halves_halve_all_gradients_and_nothing_else():
    """L1's J^(D) and J^(G) carry ½ (as Goodfellow 2016 does), L0's, L3's and the paper of 2014 do not."""

    def printed(real, fake):
        return -0.5 * real.sigmoid().log().mean() - 0.5 * (1 - fake.sigmoid()).log().mean()

    def printed_generator(fake):
        return -0.5 * fake.sigmoid().log()

    real, fake = SCORES, SCORES.flip(0) + 1
    assert torch.allclose(2 * printed(real, fake), discriminator("non-saturating", real, fake))
    of_papers = slope(lambda s: discriminator("non-saturating", real, s), fake)
    assert torch.allclose(2 * slope(lambda s: printed(real, s), fake), of_papers)
    assert torch.allclose(2 * slope(printed_generator, fake), slope(lambda s: generator("non-saturating", s), fake))


# Games


@pytest.mark.parametrize("n_critic", [1, 5])
def test_the_printed_critic_loop_runs_once_too_often(n_critic):
    """L3: for t = 0, …, n_critic. A critic that descends −w gains the learning rate with each pass."""
    printed = torch.zeros((), dtype=torch.float64)
    for _ in range(0, n_critic + 1):  # both ends included
        printed += 0.1
    critic = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(critic.weight)
    move = Move(name="critic", players=["f"], cost=lambda rows, at: {"c": -critic.weight}, times=n_critic)
    game = Game([Player(name="f", module=critic, optimizer=SGD(lr=0.1))], [Round(move)])
    rows = Batch(x=REAL, labels=None, index=torch.arange(8), start=0, joint=8, pass_end=False)
    game.step(lambda k: rows, Clock())
    assert critic.weight.item() == pytest.approx(0.1 * n_critic, rel=1e-12)
    assert printed.item() == pytest.approx(0.1 * (n_critic + 1), rel=1e-12)


# Variational inference


def test_the_printed_ratio_of_avb_has_the_opposite_sign():
    """L4 trains D to call z of q(z|x) 1 and reads the ratio p/q as D/(1 − D), which is q/p: the ELBO would gain by
    KL(q‖p) what it must lose."""
    p, q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.1, 0.3, 0.6]).double()
    told = (q / p).log()  # the logit of the D that descends L4's own objective, and the library's
    cost = lambda t: q * softplus(-t) + p * softplus(t)  # noqa: E731
    assert slope(cost, told).abs().max() < 1e-12
    divergence = (q * (q / p).log()).sum()
    printed = (q * told).sum()  # E_q log of "p/q" as the slide reads it off D
    assert printed == pytest.approx(divergence.item(), rel=1e-12)
    assert (q * -told).sum() == pytest.approx(-divergence.item(), rel=1e-12)


# The page


def test_the_page_names_every_test():
    page = (ROOT / "docs" / "errata.md").read_text("utf-8")
    for path, name in re.findall(r"`(tests/\S+\.py)`: `(test_\w+)`", page):
        assert f"def {name}(" in (ROOT / path).read_text("utf-8")
    elsewhere = set(re.findall(r"`tests/\S+\.py`: `(test_\w+)`", page))
    own = {name for name in globals() if name.startswith("test_")} - {"test_the_page_names_every_test"}
    assert set(re.findall(r"`(test_\w+)`", page)) - elsewhere == own
