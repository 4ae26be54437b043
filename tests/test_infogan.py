"""InfoGAN: codes, the bound on their information, and who descends it."""

import math

import pytest
import torch
from torch import nn

from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.adversary import Penalties
from simulacra.models.infogan import InfoAdversary, InfoGAN, InfoGANConfig
from simulacra.networks.conditional import Auxiliary
from simulacra.networks.mlp import MLP
from simulacra.recipes import find
from tests.test_sight import told

PLANE = Spec(kind="vector", shape=(2,), classes=None)


def model(**options):
    torch.manual_seed(0)
    return InfoGAN(InfoGANConfig(width=4, latent=3, categories=4, continuous=2, **options), PLANE)


def adversary(made, weight=1.0, continuous_weight=0.1, deviation=None):
    critic = Auxiliary(MLP((2,), (1,), 4, 1), 4 + 2 * (2 if deviation is None else 1))
    weights = {"weight": weight, "continuous_weight": continuous_weight, "deviation": deviation}
    return InfoAdversary(made, critic, OBJECTIVES["non-saturating"], Penalties(), **weights)


def test_latents_are_noise_one_hot_category_and_codes_in_range():
    latents = model().prior(4000, seed=2, start=1)
    hot, codes = latents[:, 3:7], latents[:, 7:]
    assert latents.shape == (4000, 9)
    assert torch.equal(hot.sum(1), torch.ones(4000))
    assert (hot.mean(0) - 0.25).abs().max() < 4 * (3 / 16 / 4000) ** 0.5
    assert codes.abs().max() <= 1
    assert codes.var().item() == pytest.approx(1 / 3, rel=0.05)
    assert torch.equal(latents[:5], model().prior(6, seed=2)[1:])


def test_the_terms_are_the_nats_of_the_codes():
    game = adversary(model(), weight=2.0, continuous_weight=0.5)
    said = torch.zeros(1, 8)
    said[0, 4:6] = torch.tensor([0.5, -0.5])  # means
    said[0, 6:8] = torch.tensor([0.0, math.log(4.0)])  # log-variances
    codes = (torch.zeros(1, 3), torch.tensor([2]), torch.tensor([[0.5, 0.5]]))
    terms = game._read(said, codes)
    assert terms["category"].item() == pytest.approx(2 * math.log(4))  # uniform over four
    first = 0.5 * math.log(2 * math.pi)
    second = 0.5 * (1 / 4 + math.log(4) + math.log(2 * math.pi))  # one off at a variance of 4
    assert terms["continuous"].item() == pytest.approx(0.5 * (first + second))


def test_a_deviation_that_is_given_is_not_read():
    game = adversary(model(), deviation=2.0)
    said = torch.zeros(1, 6)
    said[0, 4:6] = torch.tensor([0.5, -0.5])
    terms = game._read(said, (torch.zeros(1, 3), torch.tensor([2]), torch.tensor([[0.5, 0.5]])))
    each = math.log(2.0) + 0.5 * math.log(2 * math.pi)
    assert terms["continuous"].item() == pytest.approx(0.1 * (2 * each + 0.5 / 4))


def test_without_continuous_codes_there_is_no_such_term():
    made = InfoGAN(InfoGANConfig(width=4, latent=3, categories=4, continuous=0), PLANE)
    game = InfoAdversary(made, Auxiliary(MLP((2,), (1,), 4, 1), 4), OBJECTIVES["hinge"], Penalties())
    assert "continuous" not in game.generate(*pair())
    assert made.prior(3).shape == (3, 7)


def pair():
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    at = told(x)
    return at._batch, at


@pytest.mark.parametrize("deviation", [None, 1.0])
def test_both_players_descend_the_codes_cost_and_the_scores_are_the_objectives(deviation):
    game = adversary(model(), deviation=deviation)
    for terms in (game.discriminate(*pair()), game.generate(*pair())):
        total = terms["category"].mean() + terms["continuous"].mean()
        grads = torch.autograd.grad(total, [*game.model.parameters(), *game.discriminator.head.parameters()])
        assert all(grad.abs().sum() > 0 for grad in grads)
    assert {"real", "fake"} <= game.discriminate(*pair()).keys()
    assert "fool" in game.generate(*pair())


def test_a_code_that_can_be_read_off_costs_nothing_to_the_category():
    made = model()
    made.generator = nn.Linear(9, 2)
    game = adversary(made)
    said = torch.full((3, 8), -50.0)
    said[torch.arange(3), torch.tensor([1, 0, 3])] = 50.0
    codes = (torch.zeros(3, 3), torch.tensor([1, 0, 3]), torch.zeros(3, 2))
    assert game._read(said, codes)["category"].max() < 1e-6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pack": 2}, "leave out --pack"),
        ({"unrolled": 2}, "--unrolled"),
        ({"rest_above": 0.9}, "--rest-above"),
        ({"continuous": 0, "deviation": 0.5}, "deviation does nothing without continuous"),
        ({"continuous": 0, "continuous_information": 5}, "continuous_information does nothing without continuous"),
    ],
)
def test_what_cannot_work_is_refused(options, words):
    kind = find("infogan")
    with pytest.raises(UserError, match=words):
        kind.build(PLANE, 100, kind.options().with_overrides(options, "infogan"))
