"""Labels in networks, models and games: what they may and may not change."""

import pytest
import torch
from torch import nn

from simulacra.data.batch import Batch
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.batches import labels_of
from simulacra.models.conditional import ConditionalGAN, ConditionalGANConfig
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
    norm.labels = LABELS
    found = norm(x)
    for row, (scale, shift) in enumerate([(1, 0), (3, 20), (2, 10)]):
        assert torch.allclose(found[row], scale * plain[row] + shift, atol=1e-6)


def test_batch_norm_of_classes_wants_labels_and_a_network_with_batch_norm():
    with pytest.raises(ValueError, match="no labels"):
        ClassBatchNorm(nn.BatchNorm1d(2), 3)(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="no batch norm"):
        Conditioned(MLP((2,), (1,), 4, 1), 3)


def test_a_conditioned_network_forgets_its_labels():
    network = Conditioned(MLP((2,), (2,), 4, 1, batch_norm=True), 3)
    network(torch.randn(3, 2), LABELS)
    assert all(layer.labels is None for layer in network.modules() if isinstance(layer, ClassBatchNorm))


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
        (PLANE, {"clip": 0.1, "spectral": True}, "choose one"),
    ],
)
def test_what_cannot_work_is_refused(name, spec, options, words):
    kind = find(name)
    with pytest.raises(UserError, match=words):
        kind.build(spec, 100, kind.options().with_overrides(options, name))
