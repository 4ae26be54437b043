"""The tricks as the game plays them: each does what its paper says, and nothing where it is off."""

import pytest
import torch
from torch import nn

from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Clock, Table
from simulacra.models.adversary import Adversary, Penalties, Tricks, flat
from simulacra.models.discriminator import DiscriminatorConfig, discriminator, see_each_other
from simulacra.models.gan import GAN, GANConfig
from simulacra.networks.features import features
from simulacra.networks.minibatch import MinibatchDeviation, MinibatchDiscrimination
from simulacra.networks.mlp import MLP
from simulacra.recipes import find
from tests.test_sight import told

PLANE = Spec(kind="vector", shape=(2,), classes=None)
GREY = Spec(kind="image", shape=(1, 8, 8), classes=None)


def game(tricks, **options):
    torch.manual_seed(0)
    model = GAN(GANConfig(width=4, latent=3), PLANE)
    critic = discriminator(DiscriminatorConfig(width=4), PLANE)
    return Adversary(model, critic, OBJECTIVES["non-saturating"], Penalties(), tricks=tricks, **options)


def pair(rows=6):
    at = told(torch.randn(rows, 2, generator=torch.Generator().manual_seed(0)))
    return at._batch, at


def test_matching_is_the_distance_of_mean_features_and_may_stand_alone():
    both, alone = game(Tricks(matching=3.0)), game(Tricks(matching=3.0, adversarial=0.0))
    batch, at = pair()
    shown = both.model.synthesise(pair()[1].normal(3))
    real, fake = (features(both.discriminator, x).features.mean(0) for x in (batch.x, shown))
    expected = 3 * (real - fake).square().sum()
    terms = both.generate(batch, at)
    assert torch.allclose(terms["matching"], expected)
    assert set(terms) == {"fool", "matching"}
    assert set(alone.generate(*pair())) == {"matching"}


def test_matching_moves_the_generator_and_not_the_target():
    made = game(Tricks(matching=1.0, adversarial=0.0))
    (term,) = made.generate(*pair()).values()
    grads = torch.autograd.grad(term, [*made.model.parameters()])
    assert any(grad.abs().sum() > 0 for grad in grads)


def test_the_generators_own_cost_is_weighed():
    plain, half = game(Tricks()), game(Tricks(adversarial=0.5))
    assert torch.allclose(half.generate(*pair())["fool"], 0.5 * plain.generate(*pair())["fool"])


@pytest.mark.parametrize("k", [1, 3])
def test_historical_is_the_squared_way_from_the_mean_of_the_past(k):
    """Of all the player's steps before; in the first there is no past yet."""
    kind = find("gan")
    given = {"width": 4, "latent": 2, "historical": 0.5, "discriminator_steps": k}
    torch.manual_seed(0)
    played = kind.build(PLANE, 100, kind.options().with_overrides(given, "gan")).stages[0].game
    played.reset(Table())
    module, batch, seen = played.players["discriminator"].module, pair()[0], []

    def batches(index):
        seen.append(flat(module).detach().clone())
        return batch

    for step in range(3):
        terms = played.step(batches, Clock(step=step))
        seen.pop()  # the generator's turn
        assert torch.allclose(played.state["past_discriminator"], torch.stack(seen).mean(0), atol=1e-6)
        before = torch.stack(seen[:-1] or seen).mean(0)
        expected = 0.5 * (seen[-1] - before).square().sum().item()
        assert terms["discriminate/historical"] == pytest.approx(expected, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("name", ["mlp", "dcgan", "residual"])
@pytest.mark.parametrize("minibatch", ["discrimination", "deviation"])
def test_with_a_minibatch_layer_rows_see_each_other(name, minibatch):
    torch.manual_seed(0)
    spec = PLANE if name == "mlp" else GREY
    network = discriminator(DiscriminatorConfig(network=name, width=4, minibatch=minibatch), spec).double()
    x = torch.randn(4, *spec.shape, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        [*(layer for layer in network.modules() if isinstance(layer, nn.Linear))][-1].weight.normal_()
    (grad,) = torch.autograd.grad(network(x)[0].sum(), x)
    assert grad[1].abs().sum() > 0


@pytest.mark.parametrize(
    "layer", [lambda inputs: MinibatchDeviation(), lambda inputs: MinibatchDiscrimination(inputs, 100, 5)]
)
def test_a_minibatch_layer_begins_with_what_the_last_layer_knew(layer):
    torch.manual_seed(0)
    network = MLP((2,), (1,), 4, 1)
    x = torch.randn(5, 2)
    before = network(x)
    see_each_other(network, layer)
    after = network(x)
    assert torch.allclose(after, before, atol=1e-6)
    last = [*(one for one in network.modules() if isinstance(one, nn.Linear))][-1]
    after.sum().backward()
    assert last.weight.grad[:, 4:].abs().sum() > 0  # what rows see of each other is learned to matter


def test_virtual_norm_makes_samples_independent_of_each_other_even_in_training():
    torch.manual_seed(0)
    model = GAN(GANConfig(network="dcgan", width=4, latent=3, norm="virtual"), GREY)
    model.train()
    z = torch.randn(5, 3)
    assert torch.allclose(model.synthesise(z)[:2], model.synthesise(z[:2]), atol=1e-6)
    assert torch.allclose(model.decode(z), model.synthesise(z), atol=1e-6)


@pytest.mark.parametrize("name", ["cgan", "acgan", "infogan"])
def test_the_reference_of_classes_and_codes_is_of_their_own_latents(name):
    kind = find(name)
    spec = Spec(kind="image", shape=(1, 8, 8), classes=("a", "b", "c"))
    options = kind.options().with_overrides({"generator_norm": "virtual", "width": "2", "latent": "3"}, name)
    model = kind.build(spec, 100, options).model
    (reference,) = [value for key, value in model.state_dict().items() if key.endswith("reference")]
    assert torch.equal(reference, model.prior(64, seed=0))
    assert torch.equal(model.decode(reference[:2]), model.decode(reference)[:2])


def test_adaptive_augmentation_moves_its_probability_by_the_images_seen():
    kind = find("dcgan")
    options = {"width": 2, "latent": 2, "adapt": 0.5, "discriminator_norm": "none", "batch": 8}
    torch.manual_seed(0)
    played = kind.build(GREY, 100, kind.options().with_overrides(options, "dcgan")).stages[0].game
    played.reset(Table())
    at = told(torch.rand(8, 1, 8, 8) * 2 - 1)
    with torch.no_grad():
        last = [*(layer for layer in played.players["discriminator"].module.modules() if isinstance(layer, nn.Linear))][
            -1
        ]
        last.weight.zero_()
        last.bias.fill_(5.0)
    terms = played.step(lambda k: at._batch, Clock())
    assert played.state["augment"].item() == pytest.approx(8 / 500_000)
    assert terms["discriminate/augment"] == pytest.approx(8 / 500_000)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("gan", {"adversarial": 0.0}, "--feature-matching"),
        ("gan", {"feature_matching": 1.0, "unrolled": 2}, "--unrolled"),
        ("gan", {"augment": "color"}, "of images"),
        ("dcgan", {"augment": "colour"}, "did you mean 'color'"),
        ("dcgan", {"adapt": 0.6, "objective": "wasserstein", "clip": 0.1}, "--augment"),
        ("gan", {"smoothing": 0.1, "objective": "wasserstein", "clip": 0.1}, "no labels"),
        ("acgan", {"feature_matching": 1.0}, "second task"),
        ("gan", {"minibatch": "deviation", "batch": 1}, "choose a larger --batch"),
        ("gan", {"minibatch": "discrimination", "batch": 8, "pack": 8}, "one alone is judged"),
        ("projection", {"generator_norm": "virtual"}, "by batch norm, not virtual"),
    ],
)
def test_what_cannot_work_is_refused(name, options, words):
    kind, classes = find(name), ("a", "b")
    spec = Spec(kind="image", shape=(1, 8, 8), classes=classes) if name != "gan" else PLANE
    with pytest.raises(UserError, match=words):
        kind.build(spec, 100, kind.options().with_overrides(options, name))
