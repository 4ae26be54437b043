"""Labels in networks, models and games: what they may and may not change."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.batch import Batch
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Clock, Game, Table, Turn
from simulacra.models.adversary import Penalties
from simulacra.models.batches import labels_of
from simulacra.models.conditional import (
    AuxiliaryAdversary,
    ConditionalAdversary,
    ConditionalGAN,
    ConditionalGANConfig,
)
from simulacra.networks.conditional import Auxiliary, Beside, ClassBatchNorm, Conditioned, Given, Projection
from simulacra.networks.mlp import MLP
from simulacra.recipes import find

GREY = Spec(kind="image", shape=(1, 8, 8), classes=tuple("abc"))
PLANE = Spec(kind="vector", shape=(2,), classes=tuple("abc"))
LABELS = torch.tensor([0, 2, 1])


def test_beside_puts_one_hot_numbers_behind_vectors_and_constant_channels_behind_images():
    seen = []
    network = Beside(nn.Identity(), 3)
    network.network.register_forward_hook(lambda module, given, made: seen.append(made))
    network(torch.tensor([[5.0, 6.0]]), torch.tensor([1]))
    network(torch.full((1, 1, 2, 2), 7.0), torch.tensor([2]))
    assert seen[0].tolist() == [[5, 6, 0, 1, 0]]
    assert seen[1][0, :, 0, 0].tolist() == [7, 0, 0, 1]
    assert seen[1].shape == (1, 4, 2, 2)


def test_projection_adds_the_inner_product_of_the_class_and_the_features():
    torch.manual_seed(0)
    network = MLP((2,), (1,), 4, 1)
    critic = Projection(network, 3)
    x = torch.randn(3, 2)
    phi = network.layers[:-2](x)
    expected = network(x)[:, 0] + torch.stack([critic.embedding.weight[y] @ row for y, row in zip(LABELS, phi)])
    assert torch.allclose(critic(x, LABELS)[:, 0], expected, atol=1e-6)


def test_the_auxiliary_head_shares_the_features_and_leaves_the_score():
    torch.manual_seed(0)
    network = MLP((2,), (1,), 4, 1)
    critic = Auxiliary(network, 5)
    x = torch.randn(3, 2)
    score, logits = critic.both(x)
    assert torch.equal(score, critic(x))
    assert torch.equal(score, network(x))
    assert torch.allclose(logits, critic.head(network.layers[:-2](x)))


def test_given_fills_the_labels_in():
    critic = Projection(MLP((2,), (1,), 4, 1), 3)
    x = torch.randn(3, 2)
    assert torch.equal(Given(critic, LABELS)(x), critic(x, LABELS))
    assert {id(p) for p in Given(critic, LABELS).parameters()} == {id(p) for p in critic.parameters()}


def test_batch_norm_of_classes_scales_and_shifts_by_class():
    norm = ClassBatchNorm(nn.BatchNorm2d(1), 3)
    with torch.no_grad():
        norm.scale.weight[:, 0] = torch.tensor([1.0, 2.0, 3.0])
        norm.shift.weight[:, 0] = torch.tensor([0.0, 10.0, 20.0])
    x = torch.randn(3, 1, 4, 4)
    plain = nn.BatchNorm2d(1, affine=False)(x)
    norm.shares = one_hot(LABELS, 3).float()
    found = norm(x)
    for row, (scale, shift) in enumerate([(1, 0), (3, 20), (2, 10)]):
        assert torch.allclose(found[row], scale * plain[row] + shift, atol=1e-6)


def test_batch_norm_of_classes_wants_labels_and_a_network_with_batch_norm():
    with pytest.raises(ValueError, match="no classes"):
        ClassBatchNorm(nn.BatchNorm1d(2), 3)(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="no batch norm"):
        Conditioned(MLP((2,), (1,), 4, 1), 3)


def test_between_classes_scale_and_shift_are_between_theirs():
    norm = ClassBatchNorm(nn.BatchNorm1d(1), 2)
    with torch.no_grad():
        norm.scale.weight[:, 0] = torch.tensor([1.0, 3.0])
        norm.shift.weight[:, 0] = torch.tensor([0.0, 8.0])
    norm.shares = torch.tensor([[0.75, 0.25]]).expand(4, -1)
    x = torch.randn(4, 1)
    assert torch.allclose(norm(x), 1.5 * nn.BatchNorm1d(1, affine=False)(x) + 2.0, atol=1e-6)


def test_a_conditioned_network_forgets_its_classes():
    network = Conditioned(MLP((2,), (2,), 4, 1, batch_norm=True), 3)
    network(torch.randn(3, 2), one_hot(LABELS, 3).float())
    assert all(layer.shares is None for layer in network.modules() if isinstance(layer, ClassBatchNorm))


@pytest.mark.parametrize("conditioning", ["input", "norm"])
@pytest.mark.parametrize("spec", [GREY, PLANE], ids=["image", "vector"])
def test_samples_of_a_class_are_the_models_own_where_the_classes_agree(conditioning, spec):
    torch.manual_seed(0)
    network = "dcgan" if spec is GREY else "mlp"
    config = ConditionalGANConfig(
        network=network, width=4, latent=3, classes=3, conditioning=conditioning, norm="batch"
    )
    model = ConditionalGAN(config, spec)
    for layer in model.modules():
        if isinstance(layer, ClassBatchNorm):
            nn.init.normal_(layer.scale.weight)
    labels = model.labels(6, seed=4, start=2)
    samples = model.sample(6, seed=4, start=2)
    assert torch.equal(labels, model.labels(9, seed=4)[2:8])
    assert torch.allclose(samples, model.sample_labelled(labels, seed=4, start=2), atol=1e-6)
    others = model.sample_labelled((labels + 1) % 3, seed=4, start=2)
    assert all(not torch.allclose(a, b, atol=1e-4) for a, b in zip(samples, others))
    prior = model.prior(6, seed=4, start=2)
    assert prior.shape == (6, 6)
    assert torch.equal(prior[:, 3:].argmax(1), labels)


def test_latents_between_two_classes_make_what_is_between():
    """The way from one class to another at one z: no step of it is much longer than the others."""
    torch.manual_seed(0)
    config = ConditionalGANConfig(width=8, latent=3, classes=3, conditioning="norm", norm="batch")
    model = ConditionalGAN(config, PLANE)
    for layer in model.modules():
        if isinstance(layer, ClassBatchNorm):
            nn.init.normal_(layer.scale.weight)
    one, other = (model.prior_labelled(torch.tensor([k]), seed=1) for k in (0, 2))
    way = model.decode(torch.cat([one.lerp(other, share) for share in torch.linspace(0, 1, 11).tolist()]))
    steps = way.diff(dim=0).norm(dim=1)
    assert (steps > 0).all()
    assert steps.max() < 0.5 * steps.sum()


def test_classes_are_drawn_evenly():
    model = ConditionalGAN(ConditionalGANConfig(width=4, latent=3, classes=3), PLANE)
    shares = torch.bincount(model.labels(30_000, seed=1), minlength=3) / 30_000
    assert (shares - 1 / 3).abs().max() < 4 * (2 / 9 / 30_000) ** 0.5


def test_a_class_that_is_not_there_is_refused_by_number():
    model = ConditionalGAN(ConditionalGANConfig(width=4, latent=3, classes=3), PLANE)
    with pytest.raises(UserError, match=r"classes are 0 to 2, not .*3"):
        model.sample_labelled(torch.tensor([0, 3]))


def test_a_game_of_classes_wants_labels():
    batch = Batch(x=torch.zeros(1, 2), labels=None, index=torch.zeros(1), start=0, joint=1, pass_end=False)
    with pytest.raises(ValueError, match="labels"):
        labels_of(batch)


@pytest.mark.parametrize("name", ["cgan", "acgan", "projection"])
@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        (Spec(kind="vector", shape=(2,), classes=None), {}, "needs classes"),
        (PLANE, {"network": "dcgan"}, "--network mlp"),
        (PLANE, {"pack": 2}, "leave out --pack"),
        (GREY, {"depth": 5}, "depth is of perceptrons"),
        (PLANE, {"discriminator_norm": "batch"}, "leave out --discriminator-norm"),
        (PLANE, {"clip": 0.1, "spectral": True}, "choose one"),
    ],
)
def test_what_cannot_work_is_refused(name, spec, options, words):
    kind = find(name)
    with pytest.raises(UserError, match=words):
        kind.build(spec, 100, kind.options().with_overrides(options, name))


# The games: who is told which label, and what it costs


class Told(nn.Module):
    """D(x|y): keeps what it is shown, and scores by the label."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, labels):
        self.seen.append((x.detach(), labels))
        return labels[:, None].float()


class Finding(nn.Module):
    """D and C of rows [z, y]: score 0, logits twice the last three numbers."""

    def forward(self, x):
        return torch.zeros(len(x), 1)

    def both(self, x):
        return self(x), 2.0 * x[:, 3:]


def transparent(kind, critic, **named):
    """The game whose generator shows its latents [z, y] as they are."""
    spec = Spec(kind="vector", shape=(6,), classes=tuple("abc"))
    model = ConditionalGAN(ConditionalGANConfig(width=4, latent=3, classes=3), spec)
    model.generator = nn.Identity()
    return kind(model, critic, OBJECTIVES["non-saturating"], Penalties(), **named)


def rows(x):
    batch = Batch(x=x, labels=LABELS, index=torch.arange(3), start=0, joint=3, pass_end=False)
    return batch, next(iter(Turn(Game([], []), batch, Clock(), (0,), Table()).parts(0)))[1]


@pytest.mark.parametrize("move", ["discriminate", "generate"])
def test_generated_rows_have_the_labels_of_the_batch_and_are_judged_by_them(move):
    costs = transparent(ConditionalAdversary, Told())
    terms = getattr(costs, move)(*rows(torch.zeros(3, 6)))
    made, _ = costs.discriminator.seen[-1]
    assert torch.equal(made[:, 3:], one_hot(LABELS, 3).float())
    assert torch.unique(made[:, :3], dim=0).shape == (3, 3)
    assert all(torch.equal(labels, LABELS) for _, labels in costs.discriminator.seen)
    scores = LABELS.float()
    by_hand = {
        "real": (1 + (-scores).exp()).log(),
        "fake": (1 + scores.exp()).log(),
        "fool": (1 + (-scores).exp()).log(),
    }
    assert set(terms) == ({"real", "fake"} if move == "discriminate" else {"fool"})
    assert all(torch.allclose(term.flatten(), by_hand[name]) for name, term in terms.items())


def test_both_players_of_acgan_descend_the_classifiers_cross_entropy():
    """A generated row shows its class with logit 2: −log(e²/(e² + 2)); a blank real one with logits 0: log 3."""
    costs = transparent(AuxiliaryAdversary, Finding(), weight=0.5)
    found = math.log(math.exp(2) + 2) - 2
    terms = costs.discriminate(*rows(torch.zeros(3, 6)))
    assert terms["real_class"].tolist() == pytest.approx([0.5 * math.log(3)] * 3)
    assert terms["fake_class"].tolist() == pytest.approx([0.5 * found] * 3)
    assert costs.generate(*rows(torch.zeros(3, 6)))["class"].tolist() == pytest.approx([0.5 * found] * 3)
    right = torch.cat([torch.zeros(3, 3), one_hot(LABELS, 3)], 1)
    assert costs.discriminate(*rows(right))["real_class"].tolist() == pytest.approx([0.5 * found] * 3)
