"""VAE/GAN: what likeness is, and who descends what."""

from math import log

import pytest
import torch
from torch import nn

from simulacra.costs.adversarial import OBJECTIVES
from simulacra.errors import UserError
from simulacra.game import Clock, Game, Move, Play, Player, Round, Table, Turn
from simulacra.models.vaegan import VAEGAN, Seen, SimilarityGame, VAEGANConfig
from simulacra.optimizers import Adam
from simulacra.recipes import find
from tests.test_models import PLANE, B, W, X, rows, told
from tests.test_variational import affine

SCORE = torch.tensor([[0.4, -0.3]])
LOG_VARIANCE = torch.tensor([-1.0, 0.5])


def linear(similarity=0.25, objective="minimax"):
    """Dec(z) = Wz + b, q(z|x) = N(x, diag σ²), and Dis(x) = s·x, whose features are x itself."""
    model = VAEGAN(VAEGANConfig(width=4, latent=2), PLANE)
    model.generator = affine(W, B)
    model.encoder = affine(torch.cat([torch.eye(2), torch.zeros(2, 2)]), torch.cat([torch.zeros(2), LOG_VARIANCE]))
    return SimilarityGame(model, nn.Sequential(affine(SCORE, torch.zeros(1))), OBJECTIVES[objective], similarity)


def test_likeness_is_in_what_enters_the_discriminator_s_last_layer():
    game = linear()
    batch, at = told(rows(X))
    seen = game.forward(batch, at)
    epsilon = told(rows(X))[1].normal(2)
    z = X + (0.5 * LOG_VARIANCE).exp() * epsilon
    again = z @ W.T + B
    assert torch.allclose(seen.dissimilarity, 0.5 * (X - again).square().sum(1), atol=1e-5)
    assert torch.allclose(seen.reconstructed, again @ SCORE[0], atol=1e-6)
    assert torch.allclose(seen.real, X @ SCORE[0], atol=1e-6)
    kl = 0.5 * (LOG_VARIANCE.exp().sum() + X.square().sum(1) - 2 - LOG_VARIANCE.sum())
    assert torch.allclose(seen.kl, kl, atol=1e-5)


def test_costs_by_hand():
    """Scores of log 3 are probabilities of ¾."""
    certain = torch.tensor([log(3.0)])
    seen = Seen(torch.tensor([2.0]), torch.tensor([8.0]), certain, -certain, certain)
    game, at = linear(similarity=0.5), told(rows(X))[1]
    assert {k: v.item() for k, v in game.encode(seen, at).items()} == {"kl": 2.0, "dissimilarity": 8.0}
    decoder = {k: v.item() for k, v in game.decode(seen, at).items()}
    expected = {"dissimilarity": 4.0, "fool_again": log(0.75), "fool_fresh": log(0.25)}  # log(1 − D)
    assert decoder == pytest.approx(expected)
    critic = {k: v.item() for k, v in game.discriminate(seen, at).items()}
    assert critic == pytest.approx({"real": -log(0.75), "again": -log(0.75), "fresh": -log(0.25)})


def test_each_player_descends_its_own_cost_of_the_one_forward_pass():
    """The encoder is not told to fool, nor the discriminator to find pictures alike."""
    game = linear()
    parts = {"encoder": game.model.encoder, "decoder": game.model.generator, "discriminator": game.discriminator}
    costs = {"encoder": game.encode, "decoder": game.decode, "discriminator": game.discriminate}
    move = Move(name="play", players=list(parts), cost=costs, forward=game.forward)
    played = Game([Player(name=n, module=p, optimizer=Adam()) for n, p in parts.items()], [Round(move)])
    found = Play([(0, move)], Turn(played, rows(X), Clock(), (0, 0), Table())).gradients()
    for name, cost in costs.items():
        with played.moving(list(parts)):
            batch, at, _ = next(iter(Turn(played, rows(X), Clock(), (0, 0), Table()).parts(0)))
            total = sum(term.mean() for term in cost(game.forward(batch, at), at).values())
            slopes = torch.autograd.grad(total, [*parts[name].parameters()])
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found[name], slopes))


def slopes(game, name, cost):
    """The gradient that one player gets from its cost."""
    parts = {"encoder": game.model.encoder, "decoder": game.model.generator, "discriminator": game.discriminator}
    batch, at = told(rows(X))
    total = torch.stack([term.mean() for term in cost(game.forward(batch, at), at).values()]).sum()
    return torch.cat([slope.flatten() for slope in torch.autograd.grad(total, [*parts[name].parameters()])])


def test_what_is_drawn_afresh_knows_nothing_of_the_rows():
    batch, at = told(rows(X))
    other, again = told(rows(X + 5.0))
    game = linear()
    assert torch.equal(game.forward(batch, at).drawn, game.forward(other, again).drawn)


def test_only_the_decoder_weighs_likeness_beside_realism():
    games = [linear(similarity=gamma) for gamma in (0.0, 1.0, 3.0)]
    for name, verb in (("encoder", "encode"), ("discriminator", "discriminate")):
        first, second, third = (slopes(game, name, getattr(game, verb)) for game in games)
        assert torch.equal(first, second)
        assert torch.equal(first, third)
    first, second, third = (slopes(game, "decoder", game.decode) for game in games)
    assert torch.allclose(third - first, 3 * (second - first), atol=1e-5)
    assert (second - first).norm() > 0.1


def test_the_encoder_s_gradient_by_hand():
    """dL/dz = Wᵀ(Wz + b − x) for likeness and μ for the divergence, of the biases of μ, which is x here."""
    game = linear()
    batch, at = told(rows(X))
    z = X + (0.5 * LOG_VARIANCE).exp() * told(rows(X))[1].normal(2)
    total = torch.stack([term.mean() for term in game.encode(game.forward(batch, at), at).values()]).sum()
    (found,) = torch.autograd.grad(total, game.model.encoder.bias)
    assert torch.allclose(found[:2], ((z @ W.T + B - X) @ W + X).mean(0), atol=1e-5)


def test_what_comes_back_as_it_was_is_alike():
    game = linear()
    game.model.generator = affine(torch.eye(2), torch.zeros(2))
    game.model.encoder = affine(torch.cat([torch.eye(2), torch.zeros(2, 2)]), torch.tensor([0.0, 0.0, -60.0, -60.0]))
    assert game.forward(*told(rows(X))).dissimilarity.max() < 1e-9


def test_codes_are_means_and_reconstructions_decoded_codes():
    model = linear().model
    assert torch.allclose(model.encode(X), X)
    assert torch.allclose(model.reconstruct(X), X @ W.T + B, atol=1e-6)


def test_objectives_that_want_a_critic_held_or_pairs_are_refused():
    kind = find("vaegan")
    for name in ("relativistic", "wasserstein", "f-kl"):
        with pytest.raises(UserError, match="objective"):
            kind.options().with_overrides({"objective": name}, "vaegan")
    with pytest.raises(UserError, match="--network dcgan is for images"):
        kind.build(PLANE, 100, kind.options().with_overrides({"network": "dcgan"}, "vaegan"))
