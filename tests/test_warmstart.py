"""Warm starts: what matches is taken, what does not is told of."""

import pytest
import torch
from torch import nn

from simulacra import artifact, checkpoint
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Game, Player, Table
from simulacra.models.discriminator import DiscriminatorConfig, discriminator
from simulacra.models.gan import GAN, GANConfig
from simulacra.models.vae import VAE, VAEConfig
from simulacra.warmstart import warm_start

GREY = Spec(kind="image", shape=(1, 8, 8), classes=None)


def players(width=6, spec=GREY, seed=0):
    torch.manual_seed(seed)
    model = GAN(GANConfig(network="dcgan", width=width, latent=3), spec)
    critic = discriminator(DiscriminatorConfig(network="dcgan", width=width, norm="batch"), spec)
    listed = [Player(name="discriminator", module=critic), Player(name="generator", module=model, average=0.9)]
    return {player.name: player for player in listed}


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.module.state_dict().values(), b.module.state_dict().values()))


def run(folder, source, step=5):
    """A run folder with one checkpoint of `source`."""
    game = Game(source.values(), [])
    tensors = checkpoint.collect(source, game, Table())
    checkpoint.write(folder / "checkpoints", step, tensors, {}, keep=3)
    return folder


def test_from_a_run_all_players_with_the_weights_as_trained(tmp_path):
    old, new = players(seed=0), players(seed=1)
    old["generator"].averaged.update()
    with torch.no_grad():
        old["generator"].parameters[0].add_(1.0)  # the average is another now
    lines = warm_start(new, run(tmp_path, old))
    assert same(old["generator"], new["generator"])
    assert same(old["discriminator"], new["discriminator"])
    assert len(lines) == 2
    assert all(line.endswith(" tensors loaded") for line in lines)


def test_the_newest_checkpoint_is_taken(tmp_path):
    old, new = players(seed=0), players(seed=1)
    run(tmp_path, players(seed=2), step=3)
    warm_start(new, run(tmp_path, old, step=20))
    assert same(old["generator"], new["generator"])


def test_a_damaged_checkpoint_is_told_of(tmp_path):
    old, new = players(seed=0), players(seed=1)
    run(tmp_path, old, step=3)
    run(tmp_path, players(seed=2), step=20)
    (tmp_path / "checkpoints" / "step-00000020" / "tensors.safetensors").write_bytes(b"torn")
    lines = warm_start(new, tmp_path)
    assert "damaged" in lines[0]
    assert same(old["generator"], new["generator"])


def test_from_an_artifact_the_player_that_is_the_model(tmp_path):
    old, new = players(seed=0), players(seed=1)
    before = {key: value.clone() for key, value in new["discriminator"].module.state_dict().items()}
    lines = warm_start(new, artifact.save(old["generator"].module, tmp_path / "m", facts={}))
    assert same(old["generator"], new["generator"])
    assert all(torch.equal(value, before[key]) for key, value in new["discriminator"].module.state_dict().items())
    assert lines[0] == "discriminator: not found, starts anew"


def test_from_an_artifact_with_training_all_players(tmp_path):
    old, new = players(seed=0), players(seed=1)
    others = {"discriminator": old["discriminator"].module, "referee": nn.Linear(1, 1)}
    lines = warm_start(new, artifact.save(old["generator"].module, tmp_path / "m", facts={}, training=others))
    assert same(old["generator"], new["generator"])
    assert same(old["discriminator"], new["discriminator"])
    assert lines[-1] == "referee: no such player here, left out"


def test_parts_of_a_model_that_are_players_by_name(tmp_path):
    torch.manual_seed(0)
    old = VAE(VAEConfig(width=6, latent=2), GREY)
    new = VAE(VAEConfig(width=6, latent=2), GREY)
    parts = {name: Player(name=name, module=getattr(new, name)) for name in ("encoder", "decoder")}
    warm_start(parts, artifact.save(old, tmp_path / "m", facts={}))
    assert torch.equal(new.sample(3), old.sample(3))


def test_tensors_of_another_shape_start_anew(tmp_path):
    old, new = players(), players(spec=Spec(kind="image", shape=(3, 8, 8), classes=None), seed=1)
    first = new["discriminator"].module.layers[0].weight.clone()
    lines = warm_start(new, run(tmp_path, old))
    assert "discriminator: 'layers.0.weight' is [6, 3, 4, 4] here but [6, 1, 4, 4] there, starts anew" in lines
    assert torch.equal(new["discriminator"].module.layers[0].weight, first)
    assert torch.equal(new["discriminator"].module.layers[-1].weight, old["discriminator"].module.layers[-1].weight)


def test_keys_on_one_side_only_are_told_of(tmp_path):
    old, new = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
    source = {"generator": Player(name="generator", module=old)}
    lines = warm_start({"generator": Player(name="generator", module=new)}, run(tmp_path, source))
    assert lines == [
        "generator: 1 of 3 tensors loaded",
        "generator: '1.weight' [1, 2] not found, starts anew",
        "generator: '1.bias' [1] not found, starts anew",
        "generator: '0.bias' [2] left out: no such tensor here",
    ]


def test_shapes_that_differ_are_told(tmp_path):
    small, large = (Player(name="generator", module=nn.Linear(n, 1, bias=False)) for n in (2, 3))
    with pytest.raises(UserError, match=r"recipe has generator: 'weight' is \[1, 3\] here but \[1, 2\] there"):
        warm_start({"generator": large}, run(tmp_path, {"generator": small}))


def test_nothing_in_common_is_an_error(tmp_path):
    torch.manual_seed(0)
    folder = artifact.save(VAE(VAEConfig(width=6, latent=2), GREY), tmp_path / "m", facts={})
    with pytest.raises(UserError, match=r"nothing in .* matches.*discriminator, generator"):
        warm_start(players(), folder)
    with pytest.raises(UserError, match="there is no"):
        warm_start(players(), tmp_path / "nowhere")
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"artifact .*model\.safetensors is damaged"):
        warm_start(players(), folder)
