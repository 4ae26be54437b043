"""Label smoothing: the best discriminator in closed form, and who has no labels."""

import pytest
import torch

from simulacra.costs.adversarial import OBJECTIVES
from simulacra.costs.smoothing import smoothed
from simulacra.errors import UserError

GRID = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
"""Densities: p on the grid, q = 1 − p + 0.2, so that ratios lie well below and above 1."""
LOGISTIC = [name for name, objective in OBJECTIVES.items() if objective.probability]
CODINGS = {"least-squares": (0.0, 1.0), "least-squares-pearson": (-1.0, 1.0)}
OTHERS = [name for name in OBJECTIVES if name not in LOGISTIC and name not in CODINGS]


def slopes(objective, score, p, q):
    """Of the expected cost p·real(s) + q·fake(s), by every score s."""
    score = score.clone().requires_grad_()
    terms = objective.discriminator(score, score)
    assert set(terms) == {"real", "fake"}
    return torch.autograd.grad((p * terms["real"] + q * terms["fake"]).sum(), score)[0]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", LOGISTIC)
def test_the_best_probability_is_smoothed(name, share):
    p, q = GRID, 1.2 - GRID
    best = ((1 - share) * p / (p + q)).logit()
    objective = smoothed(OBJECTIVES[name], share)
    torch.testing.assert_close(slopes(objective, best, p, q), torch.zeros_like(p), rtol=0, atol=1e-12)
    assert (slopes(objective, best - 0.1, p, q) < 0).all()
    assert (slopes(objective, best + 0.1, p, q) > 0).all()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", CODINGS)
def test_the_best_score_of_least_squares_moves_with_the_target(name, share):
    # Minimum of ½p(s − b')² + ½q(s − a)²: (p b' + q a)/(p + q) with b' = (1 − share) b + share a.
    a, b = CODINGS[name]
    p, q = GRID, 1.2 - GRID
    best = (p * ((1 - share) * b + share * a) + q * a) / (p + q)
    objective = smoothed(OBJECTIVES[name], share)
    torch.testing.assert_close(slopes(objective, best, p, q), torch.zeros_like(p), rtol=0, atol=1e-12)
    constant = 0.5 * share * (1 - share) * (a - b) ** 2
    expected = 0.5 * (p - ((1 - share) * b + share * a)).square() + constant
    torch.testing.assert_close(objective.discriminator(p, q)["real"], expected)


@pytest.mark.parametrize("name", [*LOGISTIC, *CODINGS])
def test_fakes_and_the_generator_stay(name):
    plain, objective = OBJECTIVES[name], smoothed(OBJECTIVES[name], 0.1)
    assert torch.equal(objective.discriminator(GRID, -GRID)["fake"], plain.discriminator(GRID, -GRID)["fake"])
    assert objective.generator is plain.generator
    assert (objective.name, objective.probability, objective.paired) == (name, plain.probability, plain.paired)


def test_by_hand():
    # At score 0, −log D = −log(1 − D) = log 2, whatever the share; at score 2 and share 0.1, 0.1·2 more than −log D.
    real = smoothed(OBJECTIVES["non-saturating"], 0.1).discriminator(torch.tensor([0.0, 2.0]), torch.zeros(2))["real"]
    torch.testing.assert_close(real, torch.tensor([0.693147, 0.126928 + 0.2]))


def test_no_share_is_the_objective_itself():
    assert smoothed(OBJECTIVES["minimax"], 0.0) is OBJECTIVES["minimax"]


@pytest.mark.parametrize("name", OTHERS)
def test_objectives_without_labels_are_refused_by_name(name):
    with pytest.raises(UserError, match=f"objective {name} has no labels"):
        smoothed(OBJECTIVES[name], 0.1)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_shares_outside_are_refused(share):
    with pytest.raises(UserError, match="share"):
        smoothed(OBJECTIVES["minimax"], share)
