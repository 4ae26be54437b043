"""What a discriminator is shown: packs, and noise that falls to nothing."""

import pytest
import torch
from torch import nn

from simulacra.augment import adaptive, differentiable
from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.batch import Batch
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Clock, Game, Table, Turn
from simulacra.models.adversary import Adversary, Penalties
from simulacra.models.gan import GAN, GANConfig
from simulacra.models.sight import PLAIN, Sight, packed
from simulacra.recipes import find


def told(x, progress=0.0, state=None):
    batch = Batch(x=x, labels=None, index=torch.arange(len(x)), start=0, joint=len(x), pass_end=False)
    turn = Turn(Game([], [], state), batch, Clock(progress=progress), (0,), Table())
    return next(iter(turn.parts(0)))[1]


def test_a_pack_holds_neighbours_side_by_side():
    x = torch.arange(8.0).view(4, 2)
    assert packed(x, 2).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    shown = packed(images, 2)
    assert shown.shape == (2, 6, 2, 2)
    assert shown[1, :, 0, 0].tolist() == [2, 2, 2, 3, 3, 3]
    assert packed(x, 1) is x


def test_rows_that_do_not_fill_packs_are_refused():
    with pytest.raises(ValueError, match="3 rows do not fill packs of 2"):
        packed(torch.zeros(3, 2), 2)
    kind, plane = find("gan"), Spec(kind="vector", shape=(2,), classes=None)
    for batch in (64, 2):
        options = kind.options().with_overrides({"pack": 3, "batch": batch}, "gan")
        with pytest.raises(UserError, match=f"batch {batch} does not divide into packs of 3"):
            kind.build(plane, 100, options)


def test_the_discriminator_is_built_for_packs():
    spec = Sight(pack=3).spec(Spec(kind="image", shape=(3, 8, 6), classes=("a", "b")))
    assert spec.shape == (9, 8, 6)
    assert PLAIN.spec(spec) is spec


@pytest.mark.parametrize(("progress", "deviation"), [(0.0, 0.5), (0.5, 0.25), (1.0, 0.0)])
def test_instance_noise_falls_linearly_to_nothing(progress, deviation):
    x = torch.zeros(20_000, 2)
    shown = Sight(noise=0.5)(x, told(x, progress))
    assert shown.std().item() == pytest.approx(deviation, rel=0.02)


def test_plain_sight_changes_nothing_and_draws_nothing():
    x = torch.randn(5, 2)
    at = told(x)
    assert PLAIN(x, at) is x
    assert torch.equal(at.normal(2), told(x).normal(2))


# Augmentation: of real and generated rows alike, in both players' moves

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
GREY = Spec(kind="image", shape=(1, 8, 8), classes=None)


def test_differentiable_augmentation_is_of_the_moves_own_numbers():
    names = ("color", "translation")
    numbers = told(IMAGES).uniform(differentiable.numbers(names))
    shown = Sight(augment=names)(IMAGES, told(IMAGES))
    assert torch.equal(shown, differentiable.augment(IMAGES, numbers, names))
    assert not torch.allclose(shown, IMAGES)


def test_adaptive_augmentation_is_of_the_games_probability():
    at = told(IMAGES, state={"augment": torch.tensor(0.7)})
    numbers = told(IMAGES).uniform(adaptive.NUMBERS)
    shown = Sight(adapt=0.6)(IMAGES, at)
    assert torch.equal(shown, adaptive.adaptive(IMAGES, numbers, 0.7))
    assert not torch.allclose(shown, IMAGES)


class Recorder(nn.Module):
    """A discriminator that keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, x):
        self.shown.append(x.detach())
        return x.mean((1, 2, 3))[:, None]


@pytest.mark.parametrize("sight", [Sight(augment=("color",)), Sight(adapt=0.6), Sight(noise=0.5)], ids=str)
def test_whatever_the_discriminator_sees_is_changed_in_both_moves(sight):
    """Real and generated rows are the same images here: none of them is shown as it is, and no two of them alike."""
    model = GAN(GANConfig(network="dcgan", width=2, latent=3), GREY)
    model.synthesise = lambda z: IMAGES
    state = {"augment": torch.tensor(1.0)}
    costs = Adversary(model, Recorder(), OBJECTIVES["relativistic"], Penalties(r1=1.0, r2=1.0), sight=sight)
    for move in (costs.discriminate, costs.generate, costs.penalise):
        costs.discriminator.shown.clear()
        at = told(IMAGES, state=state)
        move(at._batch, at)
        one, other = costs.discriminator.shown
        for shown in (one, other):
            assert not torch.isclose(shown, IMAGES, atol=1e-4).flatten(1).all(1).any(), move.__name__
        assert not torch.isclose(one, other, atol=1e-4).flatten(1).all(1).any(), move.__name__
