"""What every game must keep (docs/architecture.md, Common checks)."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load, load_file, save
from torch import Tensor

from simulacra import checkpoint
from simulacra.game import ClosedForm, Play, Round, Table, Turn
from simulacra.recipes import all_recipes
from tests.checks.cases import BY_NAME, CASES, Case
from tests.checks.on_ranks import STEPS
from tests.checks.playing import Playing, difference, same_bits

each_game = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_gradient_game = pytest.mark.parametrize(
    "case", [case for case in CASES if not case.closed], ids=lambda case: case.name
)


def test_every_recipe_is_checked() -> None:
    assert set(all_recipes()) <= {case.recipe for case in CASES}


def states(playing: Playing) -> dict[str, dict[str, Tensor]]:
    """Parameters and buffers of each player, copied."""
    return {n: {k: v.clone() for k, v in p.module.state_dict().items()} for n, p in playing.players.items()}


@each_game
def test_a_round_changes_only_its_players_buffers_included(case: Case) -> None:
    playing = Playing(case).play(1)
    for number, round_ in enumerate(playing.game.rounds):
        batch = next(playing.batches())
        before = states(playing)
        round_.play(Turn(playing.game, batch, playing.clock(), (0, 0, number, 0), Table()), 0)
        after = states(playing)
        changed = {name for name in before if not same_bits(before[name], after[name])}
        assert changed <= set(round_.players)
        if isinstance(round_, Round):
            assert changed == set(round_.players)


@each_gradient_game
def test_only_moving_players_require_grad_and_nobody_keeps_one(case: Case) -> None:
    playing = Playing(case)
    game = playing.game
    for round_ in game.rounds:
        assert isinstance(round_, Round)
        for move in round_.moves:
            with game.moving(move.players):
                flags = {name: {p.requires_grad for p in player.parameters} for name, player in game.players.items()}
            assert flags == {name: {name in move.players} for name in game.players}
    playing.play(2)
    assert all(p.grad is None for player in playing.players.values() for p in player.parameters)


@each_gradient_game
def test_frozen_players_get_no_gradient(case: Case) -> None:
    playing = Playing(case)
    turn = Turn(playing.game, next(playing.batches()), playing.clock(), (0, 0, 0, 0), Table())
    for round_ in playing.game.rounds:
        assert isinstance(round_, Round)
        play = Play(list(enumerate(round_.moves)), turn)
        gradients = play.gradients()
        assert set(gradients) == set(round_.players)
        assert all(any(g is not None for g in grads) for grads in gradients.values())
        assert all(p.grad is None for player in playing.players.values() for p in player.parameters)


@each_game
def test_a_resumed_game_equals_the_uninterrupted_one_bit_for_bit(case: Case) -> None:
    whole = Playing(case).play(9)
    for stop in (1, 4, 6):  # before, at and after the change of stage of those that have stages
        first = Playing(case).play(stop)
        kept = load(save(first.all()))
        second = Playing(case)
        second.step = stop
        checkpoint.restore(kept, second.players, second.game, Table())
        second.play(9 - stop)
        assert same_bits(whole.all(), second.all()), stop


@each_game
def test_micro_batches_make_one_batch(case: Case) -> None:
    if not case.per_sample:
        pytest.skip("batch norm sees micro-batches")
    whole, parts = Playing(case).play(8), Playing(case, Table(micro_batches=3)).play(8)
    assert difference(whole.all(), parts.all()) < 1e-9


@each_game
def test_terms_are_finite_and_the_batch_is_left_alone(case: Case) -> None:
    playing = Playing(case)
    seen = []
    for _ in range(3):
        batches = list(playing.batches())
        copies = [batch.x.clone() for batch in batches]
        playing.terms |= playing.game.step(batches.__getitem__, playing.clock())
        assert all(torch.equal(batch.x, copy) for batch, copy in zip(batches, copies))
        playing.step += 1
        seen.append(dict(playing.terms))
    if not any(isinstance(round_, ClosedForm) for round_ in playing.game.rounds):
        assert playing.terms
    assert all(abs(value) < float("inf") for value in playing.terms.values())


@each_game
def test_an_attempt_draws_other_noise(case: Case) -> None:
    playing = Playing(case)
    turns = [
        Turn(playing.game, next(playing.batches()), playing.clock(), (0, 0, 0, attempt), Table()) for attempt in (0, 1)
    ]
    draws = [next(turn.parts(0))[1].normal(4) for turn in turns]
    assert not torch.equal(*draws)


@pytest.fixture(scope="session")
def on_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """What each of two ranks made of every case."""
    place = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = subprocess.run(
        [*command, "-m", "tests.checks.on_ranks", str(place)], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return [load_file(place / f"{rank}.safetensors") for rank in range(2)]


def under(found: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


@each_game
def test_ranks_hold_the_same_parameters(case: Case, on_two_ranks: list[dict[str, Tensor]]) -> None:
    ours, theirs = (under(found, f"{case.name}:own/") for found in on_two_ranks)
    assert same_bits(ours, theirs)


@each_game
def test_two_ranks_play_as_one(case: Case, on_two_ranks: list[dict[str, Tensor]]) -> None:
    if not case.per_sample:
        pytest.skip("batch norm sees ranks")
    alone = Playing(case).play(STEPS).all()
    assert difference(alone, under(on_two_ranks[0], f"{case.name}:all/")) < 1e-9


def test_closed_form_statistics_do_not_depend_on_batches() -> None:
    """One pass in one batch, in many, and in many unequal ones: the same expectation-maximisation step."""
    case = BY_NAME["expectation-maximisation"]
    n = len(Playing(case).source)
    results = []
    for batch in (n, 100, 700):
        playing = Playing(case, batch=batch)
        passes = -(-n // batch)
        results.append({k: v.clone() for k, v in playing.play(passes).players["mixture"].module.state_dict().items()})
    assert difference(results[0], results[1]) < 1e-9
    assert difference(results[0], results[2]) < 1e-9
    assert not same_bits(results[0], Playing(case).players["mixture"].module.state_dict())
