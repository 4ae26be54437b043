"""Conditional VAEs: what is given, and a linear-Gaussian one whose log p(y|x) is known."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.metrics.filling import Filling, FillingConfig
from simulacra.metrics.of_model import Setting
from simulacra.models.cvae import CVAE, CVAEConfig, given
from simulacra.models.cvae import MISSING as MISSING_GREY
from simulacra.models.posterior import Posterior
from simulacra.recipes import find
from tests.test_models import rows, told

SQUARE = Spec(kind="image", shape=(1, 2, 2), classes=None)
SIGMA = 0.5
W = torch.tensor([[1.0, 0.3], [-0.4, 0.8]])
"""From z to the two missing pixels, those of the right half."""
A = torch.tensor([[0.5, -0.2], [0.1, 0.7]])
"""From the two given pixels, those of the left half: to z's mean, or straight to y."""
X = torch.tensor([[[[0.3, 0.9], [-0.6, -0.2]]], [[[0.0, -0.8], [0.5, 0.1]]]])
GIVEN, MISSING = X[:, 0, :, 0], X[:, 0, :, 1]
PRIOR_LOG_VARIANCE = torch.tensor([-0.5, 0.4])
Q = Posterior(torch.tensor([0.2, -0.1]).expand(2, 2), torch.tensor([-1.0, -0.7]).expand(2, 2))


def affine(weight, bias):
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return nn.Sequential(nn.Flatten(), layer)


def columns(matrix, which):
    """The matrix by which a row of four pixels is multiplied, where `matrix` is for two of them."""
    wide = torch.zeros(len(matrix), 4)
    wide[:, which] = matrix
    return wide


def linear(conditional):
    config = CVAEConfig(
        quadrants=2, conditional_prior=conditional, latent=2, width=3, likelihood="gaussian", sigma=SIGMA
    )
    model, left = CVAE(config, SQUARE), [0, 2]
    image = nn.Unflatten(1, (1, 2, 2))
    model.baseline = nn.Sequential(affine(torch.zeros(4, 4), torch.zeros(4)), image)
    decoder = torch.zeros(4, 2)
    decoder[[1, 3]] = W
    model.coder["recognition"] = affine(torch.zeros(4, 4), torch.cat([Q.mean[0], Q.log_variance[0]]))
    if conditional:
        prior = torch.cat([columns(A, left), torch.zeros(2, 4)])
        model.coder["prior"] = affine(prior, torch.cat([torch.zeros(2), PRIOR_LOG_VARIANCE]))
        model.coder["decoder"] = nn.Sequential(affine(decoder, torch.zeros(4)), image)
    else:
        direct = torch.zeros(4, 4)
        direct[[1, 3]] = columns(A, left)
        model.coder["decoder"] = nn.Sequential(affine(torch.cat([decoder, direct], 1), torch.zeros(4)), image)
    return model


def evidence(conditional):
    """log p(y|x) in closed form."""
    spread = PRIOR_LOG_VARIANCE.exp().diag() if conditional else torch.eye(2)
    mean = GIVEN @ A.T @ W.T if conditional else GIVEN @ A.T
    return MultivariateNormal(mean, W @ spread @ W.T + SIGMA**2 * torch.eye(2)).log_prob(MISSING)


def bound(conditional):
    """Eq. 4 in closed form, q being `Q`."""
    prior_mean = GIVEN @ A.T if conditional else torch.zeros(2, 2)
    log_variance = PRIOR_LOG_VARIANCE.expand(2, 2) if conditional else torch.zeros(2, 2)
    direct = torch.zeros(2, 2) if conditional else GIVEN @ A.T
    away = (MISSING - direct - Q.mean @ W.T).square().sum(1) + (W.square() * Q.log_variance[0].exp()).sum()
    fit = -0.5 * away / SIGMA**2 - 2 * math.log(SIGMA) - math.log(2 * math.pi)
    q, p = (
        torch.distributions.Normal(m, (0.5 * v).exp())
        for m, v in ((Q.mean, Q.log_variance), (prior_mean, log_variance))
    )
    return fit - torch.distributions.kl_divergence(q, p).sum(1)


@pytest.mark.parametrize(
    ("quadrants", "expected"),
    [
        (1, [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]]),
        (2, [[1, 0, 0]] * 4),
        (3, [[1, 1, 1], [1, 1, 1], [1, 0, 0], [1, 0, 0]]),
    ],
)
def test_quadrants_are_cut_at_the_middle(quadrants, expected):
    assert given((1, 4, 3), quadrants).int().tolist() == expected


@pytest.mark.parametrize("conditional", [True, False])
def test_weights_average_to_the_evidence(conditional):
    model = linear(conditional)
    for x, exact in zip(X, evidence(conditional)):
        weights = model.fill_weights(x.expand(4000, 1, 2, 2), 10, bits=False).flatten().exp()
        assert abs(weights.mean() - exact.exp()) < 4 * weights.std() / 200


@pytest.mark.parametrize("conditional", [True, False])
def test_the_bound_is_that_of_the_paper_and_below_the_evidence(conditional):
    model = linear(conditional)
    found = [model.fill_bound(x.expand(4000, 1, 2, 2), 5, bits=False).mean() for x in X]
    assert torch.allclose(torch.stack(found), bound(conditional), atol=0.06)
    assert (bound(conditional) < evidence(conditional)).all()


def test_the_cost_is_the_bound():
    x = X[:1].expand(20_000, 1, 2, 2)
    terms = linear(True).cost(*told(rows(x)))
    assert sum(term.mean().item() for term in terms.values()) == pytest.approx(-bound(True)[0].item(), abs=0.05)


def test_networks_see_nothing_of_what_is_missing_but_the_recognition():
    torch.manual_seed(0)
    model = CVAE(CVAEConfig(quadrants=1, latent=2, width=8), Spec(kind="image", shape=(1, 4, 4), classes=None))
    x = torch.rand(3, 1, 4, 4) * 2 - 1
    other = torch.where(model.mask, x, torch.rand(3, 1, 4, 4) * 2 - 1)
    assert torch.equal(model.seen(x), model.seen(other))
    for verb in (model.fill, model.guess):
        mine, theirs = verb(x), verb(other)
        assert torch.equal(mine, theirs)
        assert torch.equal(mine[..., model.mask], x[..., model.mask])
    assert not torch.allclose(model.fill_bound(x, 2, bits=False), model.fill_bound(other, 2, bits=False))


def test_the_baseline_stands_still_while_the_model_learns():
    torch.manual_seed(0)
    model = CVAE(CVAEConfig(latent=2, width=8), Spec(kind="image", shape=(1, 4, 4), classes=None))
    terms = model.cost(*told(rows(torch.rand(3, 1, 4, 4) * 2 - 1)))
    total = torch.stack([term.mean() for term in terms.values()]).sum()
    parts = [*model.baseline.parameters()], [*model.coder.parameters()]
    still, moving = (torch.autograd.grad(total, part, allow_unused=True, retain_graph=True) for part in parts)
    assert all(slope is None for slope in still)
    assert all(slope is not None for slope in moving)


def test_only_missing_pixels_count():
    model = linear(False)
    guess = model.guess_log_prob(X, bits=False)
    expected = torch.distributions.Normal(0.0, SIGMA).log_prob(MISSING).sum(1)
    assert torch.allclose(guess, expected, atol=1e-5)


def test_bits_are_drawn_where_something_is_missing():
    torch.manual_seed(0)
    model = CVAE(CVAEConfig(latent=2, width=8), Spec(kind="image", shape=(1, 4, 4), classes=None))
    y, target = model._both(torch.zeros(2, 1, 4, 4), True, 5, 0)
    assert torch.equal(target[..., model.mask], y[..., model.mask])
    assert set(target[..., ~model.mask].unique().tolist()) == {0.0, 1.0}


def test_the_guess_in_the_gaps_is_a_brightness():
    model = CVAE(CVAEConfig(latent=2, width=8), Spec(kind="image", shape=(1, 4, 4), classes=None))
    y = torch.rand(3, 1, 4, 4)
    filled = model._filled(y)
    logits = model.baseline(torch.where(model.mask, y, MISSING_GREY))
    assert torch.equal(filled[..., model.mask], y[..., model.mask])
    assert torch.allclose(filled[..., ~model.mask], logits.sigmoid()[..., ~model.mask])


def test_pixels_outside_their_range_are_refused():
    model, x = CVAE(CVAEConfig(latent=2, width=8), SQUARE), torch.full((2, 1, 2, 2), 255.0)
    for verb in (model.guess, model.fill, lambda x: model.fill_bound(x, 2, bits=False)):
        with pytest.raises(UserError, match=r"outside \[-1, 1\]"):
            verb(x)


def test_the_measure_orders_bound_and_estimate():
    setting = Setting(test=lambda n: iter([(0, X)]), features=lambda x: x)
    found = Filling(FillingConfig(samples=500, importance=100)).compute(linear(True), setting)
    assert found["fill_bound"].value == pytest.approx(bound(True).mean().item(), abs=0.3)
    assert {score.facts["targets"] for score in found.values()} == {"values"}
    assert found["fill_iwae"].facts["samples"] == 100
    weights = linear(True).fill_weights(X, 100, bits=True, seed=setting.seed)
    assert found["fill_iwae"].value == pytest.approx((weights.logsumexp(1) - math.log(100)).mean().item(), abs=1e-5)


def test_what_is_filled_in_is_told_where_the_likelihood_is_of_bits():
    setting = Setting(test=lambda n: iter([(0, X.clamp(-1, 1))]), features=lambda x: x)
    found = Filling(FillingConfig(samples=2, importance=2)).compute(
        CVAE(CVAEConfig(latent=2, width=8), SQUARE), setting
    )
    told = {name: score.facts["targets"] for name, score in found.items()}
    assert told == {"fill_guess": "grey", "fill_bound": "grey", "fill_iwae": "bits"}


def test_vectors_have_no_quadrants():
    kind = find("cvae")
    with pytest.raises(UserError, match="quadrants of images"):
        kind.build(Spec(kind="vector", shape=(4,), classes=None), 100, kind.options())


def test_real_values_are_never_made_bits():
    model = linear(True)
    y, target = model._both(X, True, 5, 0)
    assert torch.equal(y, X)
    assert torch.equal(target, X)
