"""What a discriminator is shown: packs, and noise that falls to nothing."""

import pytest
import torch

from simulacra.data.batch import Batch
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Clock, Game, Table, Turn
from simulacra.models.sight import PLAIN, Sight, packed
from simulacra.recipes import find


def told(x, progress=0.0):
    batch = Batch(x=x, labels=None, index=torch.arange(len(x)), start=0, joint=len(x), pass_end=False)
    turn = Turn(Game([], []), batch, Clock(progress=progress), (0,), Table())
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
    kind = find("gan")
    with pytest.raises(UserError, match="batch 64 does not divide into packs of 3"):
        kind.build(
            Spec(kind="vector", shape=(2,), classes=None), 100, kind.options().with_overrides({"pack": 3}, "gan")
        )


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
