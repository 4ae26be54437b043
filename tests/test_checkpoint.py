"""Checkpoints: whole, in order, and everything that training has changed."""

import json
import shutil

import pytest
import torch
from torch import nn

from simulacra import checkpoint
from simulacra.data.batch import Batch
from simulacra.errors import MachineError, UserError
from simulacra.game import Clock, ClosedForm, Game, Move, Player, Round, Table
from simulacra.optimizers import SGD, Adam

TENSORS = {
    "a/weight": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor(3),
    "c": torch.ones(2, 2, dtype=torch.bfloat16),
    "empty": torch.zeros(0, 4, dtype=torch.float64),
}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def newest(folder):
    """The newest whole checkpoint, and what was said on the way."""
    said = []
    return checkpoint.newest(folder, said.append), said


def test_what_is_written_is_read(tmp_path):
    place = checkpoint.write(tmp_path / "deep" / "checkpoints", 7, TENSORS, {"stage": 1, "attempt": 2}, keep=2)
    assert place.name == "step-00000007"
    found = checkpoint.read(place)
    assert found.facts["step"] == 7
    assert found.facts["stage"] == 1
    assert found.facts["attempt"] == 2
    assert found.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(found.tensors[k], v) and found.tensors[k].dtype == v.dtype for k, v in TENSORS.items())


def test_the_newest_are_kept(tmp_path):
    for step in (5, 10, 9_999_999, 100_000_000):
        checkpoint.write(tmp_path, step, TENSORS, {}, keep=2)
    assert names(tmp_path) == ["step-09999999", "step-100000000"]


def test_a_step_written_again_replaces_the_one_before(tmp_path):
    for value in (1.0, 2.0):
        checkpoint.write(tmp_path, 5, {"w": torch.tensor(value)}, {}, keep=3)
    assert names(tmp_path) == ["step-00000005"]
    assert checkpoint.read(tmp_path / "step-00000005").tensors["w"] == 2.0


def test_a_half_written_checkpoint_is_no_checkpoint(tmp_path):
    checkpoint.write(tmp_path, 5, TENSORS, {}, keep=2)
    half = tmp_path / ".step-00000006.partial"
    half.mkdir()
    (half / "tensors.safetensors").write_bytes(b"half")
    assert [path.name for path in checkpoint.listed(tmp_path)] == ["step-00000005"]
    found, said = newest(tmp_path)
    assert found is not None
    assert found.facts["step"] == 5
    assert said == []
    checkpoint.write(tmp_path, 6, TENSORS, {}, keep=2)
    assert names(tmp_path) == ["step-00000005", "step-00000006"]


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def damages():
    yield "tensors", lambda place: flip(place / "tensors.safetensors", -1)
    yield "header", lambda place: flip(place / "tensors.safetensors", 3)
    yield "truncated", lambda place: (place / "tensors.safetensors").write_bytes(b"abc")
    yield "no tensors", lambda place: (place / "tensors.safetensors").unlink()
    yield "no meta", lambda place: (place / "meta.json").unlink()
    yield "torn meta", lambda place: (place / "meta.json").write_text('{"format": 1,')
    yield "binary meta", lambda place: (place / "meta.json").write_bytes(b"\xff\xfe\x00")
    yield "list meta", lambda place: (place / "meta.json").write_text("[1]")
    yield "wrong meta", lambda place: (place / "meta.json").write_text('{"format": "new", "sha256": 3}')
    yield "empty meta", lambda place: (place / "meta.json").write_text("{}")
    yield "emptied", lambda place: (shutil.rmtree(place), place.mkdir())


@pytest.mark.parametrize(("how", "damage"), list(damages()), ids=lambda x: x if isinstance(x, str) else "")
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_is_used(tmp_path, how, damage):
    for step in (5, 6):
        checkpoint.write(tmp_path, step, TENSORS, {}, keep=2)
    damage(tmp_path / "step-00000006")
    with pytest.raises(MachineError, match=r"step-00000006 is damaged"):
        checkpoint.read(tmp_path / "step-00000006")
    found, (said,) = newest(tmp_path)
    assert found is not None
    assert found.facts["step"] == 5
    assert "step-00000006 is damaged" in said
    assert said.endswith("; using the one before")
    assert "\n" not in said


def test_without_a_whole_checkpoint_nothing_is_made_up(tmp_path):
    assert newest(tmp_path / "nowhere") == (None, [])
    assert newest(tmp_path) == (None, [])
    flip(checkpoint.write(tmp_path, 5, TENSORS, {}, keep=2) / "tensors.safetensors", -1)
    with pytest.raises(MachineError, match=r"no checkpoint in .* is whole"):
        newest(tmp_path)


def test_a_newer_format_is_refused_and_not_passed_over(tmp_path):
    checkpoint.write(tmp_path, 5, TENSORS, {}, keep=2)
    meta = checkpoint.write(tmp_path, 6, TENSORS, {}, keep=2) / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": checkpoint.FORMAT + 1}))
    with pytest.raises(UserError, match=f"has format {checkpoint.FORMAT + 1}, newer than this version's"):
        newest(tmp_path)


def test_what_lies_past_a_step_is_dropped(tmp_path):
    for step in (5, 6, 7, 12):
        checkpoint.write(tmp_path, step, TENSORS, {}, keep=9)
    checkpoint.drop_after(tmp_path, 6)
    assert names(tmp_path) == ["step-00000005", "step-00000006"]


# What a game is made of


ROWS = Batch(
    x=torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0)),
    labels=None,
    index=torch.arange(4),
    start=0,
    joint=4,
    pass_end=False,
)


def convolutional(seed):
    """A game with everything a checkpoint must hold, its weights from `seed`, in channels-last format."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(80, 1))
    network.to(memory_format=torch.channels_last)
    other = nn.Linear(3, 1)

    def cost(rows, at):
        at.write("chain", at.state("chain") + rows.x[:, :1, 0, 0])
        at.write("mean", rows.x.mean())
        return {"c": (network(rows.x + at.normal(3, 6, 6)) - at.state("mean")).square().mean(1)}

    def fit(rows, at):
        return {"sum": rows.x.sum((0, 2, 3))}

    players = [
        Player(name="network", module=network, optimizer=Adam(lr=1e-2), average=0.9),
        Player(name="other", module=other, optimizer=SGD(lr=0.1, momentum=0.9)),
    ]
    rounds = [
        Round(Move(name="m", players=["network"], cost=cost)),
        Round(
            Move(name="o", players=["other"], cost=lambda rows, at: {"c": other(rows.x[:, :, 0, 0]).square().mean(1)})
        ),
        ClosedForm(name="fit", players=["other"], statistics=fit, apply=lambda sums: {}),
    ]
    state = {"chain": torch.zeros(4, 1), "mean": torch.zeros(())}
    return Game(players, rounds, state=state, per_sample=["chain"])


def play(game, steps, first=0):
    for step in range(first, first + steps):
        game.step(lambda k: ROWS, Clock(seed=1, step=step))
    return game


def everything(game):
    return checkpoint.collect(game.players, game, Table())


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_game_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(tmp_path):
    whole = everything(play(convolutional(0), 7))
    place = checkpoint.write(tmp_path, 4, everything(play(convolutional(0), 4)), {}, keep=1)
    resumed = convolutional(1)
    checkpoint.restore(checkpoint.read(place).tensors, resumed.players, resumed, Table())
    assert same(everything(play(resumed, 3, first=4)), whole)
    kinds = {name.split("/")[0] for name in whole}
    assert kinds == {"player", "average", "optimizer", "state", "statistics"}


def test_a_checkpoint_undoes_everything_that_came_after_it():
    game = play(convolutional(0), 3)
    kept = everything(game)
    play(game, 3, first=3)
    assert not same(kept, everything(game))
    checkpoint.restore(kept, game.players, game, Table())
    assert same(kept, everything(game))
    fresh = everything(convolutional(0))
    checkpoint.restore(fresh, game.players, game, Table())
    assert same(fresh, everything(game))
    assert game.players["network"].averaged.updates == 0


def test_what_is_collected_does_not_follow_the_game():
    game = play(convolutional(0), 2)
    kept = everything(game)
    copies = {name: value.clone() for name, value in kept.items()}
    play(game, 2, first=2)
    assert same(kept, copies)


def test_the_optimisers_memory_takes_its_parameters_strides():
    game = play(convolutional(0), 2)
    checkpoint.restore(everything(game), game.players, game, Table())
    seen = 0
    for parameter, memory in game.optimizers["network"].state.items():
        for value in memory.values():
            if value.shape == parameter.shape:
                assert value.stride() == parameter.stride()
                seen += parameter.is_contiguous(memory_format=torch.channels_last) if parameter.dim() == 4 else 0
    assert seen == 2  # both moments of the convolution


def test_a_checkpoint_of_another_network_is_not_taken():
    game = convolutional(0)
    tensors = everything(game)
    tensors["player/network/0.weight"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match="size mismatch"):
        checkpoint.restore(tensors, game.players, game, Table())
