"""Alarms of a training from end to end: raised once, over when gone, told again by nobody; and what doctor says."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from simulacra.health.alarm import ALARMS, Alarm
from simulacra.health.doctor import diagnose
from simulacra.health.monitor import Monitor
from simulacra.health.thresholds import DEFAULT
from simulacra.models.gan import GAN
from simulacra.session import settle
from simulacra.training import play, train
from tests.conftest import Cli

STRONG: dict[str, Any] = {
    "width": 16,
    "objective": "minimax",
    "discriminator__lr": 2e-2,
    "quiet": True,
}  # a hundred times the default


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def raised(folder: Path) -> list[str]:
    return [line["alarm"] for line in logged(folder) if "alarm" in line]


@pytest.fixture(scope="module")
def strong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose discriminator learns a hundred times too fast, under the cost that saturates."""
    folder = tmp_path_factory.mktemp("health") / "strong"
    train("gan", data="digits", out=folder, steps=600, **STRONG)
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as it should be."""
    folder = tmp_path_factory.mktemp("health") / "sound"
    train("dcgan", data="digits", out=folder, steps=600, width=8, quiet=True)
    return folder


def test_a_discriminator_that_is_too_fast_is_named_in_the_log_and_by_doctor(strong: Path, command: Cli) -> None:
    assert "discriminator-overpowers" in raised(strong)
    code, out, _ = command("doctor", strong)
    assert code == 0
    assert "discriminator-overpowers" in out
    assert "try: a lower discriminator.lr" in out
    assert "2 log 2 = 1.386" in out
    assert "is a discriminator's cost near 0 normal? Not for so long" in out


def test_a_healthy_run_raises_nothing_and_is_explained(sound: Path, command: Cli) -> None:
    assert raised(sound) == []
    code, out, _ = command("doctor", sound)
    assert code == 0
    assert "no alarm stands" in out
    assert "is this collapse? No" in out
    assert "step 600 of 600, finished" in out


def test_doctor_in_json_holds_what_it_says(strong: Path, command: Cli) -> None:
    found = json.loads(command("doctor", strong, "--json")[1])
    assert set(found) == {"run", "about", "state", "step", "goal", "watched", "alarms", "over", "reading"}
    assert {alarm["name"] for alarm in found["alarms"] + found["over"]} == set(raised(strong))
    assert all(set(alarm) == set(Alarm._fields) for alarm in found["alarms"])


def test_the_log_is_enough_where_nobody_watched(strong: Path, tmp_path: Path) -> None:
    """A run of an earlier version has no lines on its health: what its terms say is found again."""
    (tmp_path / "recipe.json").write_text((strong / "recipe.json").read_text())
    lines = [line for line in logged(strong) if "step" in line or "event" in line]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = diagnose(tmp_path)
    assert not found.watched
    assert "discriminator-overpowers" in [alarm.name for alarm in found.alarms]


def test_lines_on_health_have_no_step_of_their_own_and_names_that_are_known(strong: Path) -> None:
    lines = [line for line in logged(strong) if {"alarm", "probe", "data"} & set(line)]
    assert all("at" in line and "step" not in line for line in lines)
    assert [line["at"] for line in lines if "probe" in line] == list(range(0, 601, 60))
    assert set(raised(strong)) <= set(ALARMS)


def test_watching_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"data": "digits", "steps": 12, "width": 4, "latent": 3, "spectral": True, "quiet": True}
    with_health = train("dcgan", out=tmp_path / "with", **options).model.state_dict()
    for name in ("restart", "line", "probe"):
        monkeypatch.setattr(f"simulacra.health.watch.Watch.{name}", lambda *_: None)
    without = train("dcgan", out=tmp_path / "without", **options).model.state_dict()
    assert all(torch.equal(with_health[name], without[name]) for name in without)


def test_going_on_repeats_no_alarm_and_no_probe(tmp_path: Path) -> None:
    options = STRONG | {"data": "digits", "out": tmp_path / "run", "horizon": 600}
    session = settle("gan", out=tmp_path / "run", data="digits", run={"steps": 20, "quiet": True}, recipe={"width": 8})
    duplicated = replace(session.source, data=session.source.rows(session_rows(len(session.source))))
    play(replace(session, source=duplicated))
    assert raised(tmp_path / "run") == ["data-duplicates"]
    train("gan", **{**options, "steps": 40, "width": 8, "objective": "non-saturating", "discriminator__lr": 2e-4})
    assert raised(tmp_path / "run") == ["data-duplicates"]
    probes = [line["at"] for line in logged(tmp_path / "run") if "probe" in line]
    assert len(probes) == len(set(probes))


def session_rows(count: int) -> Any:
    """Every row number halved: each of half the rows twice."""
    import numpy as np

    return np.arange(count) // 2


def test_an_alarm_is_raised_once_over_when_absent_and_may_return() -> None:
    bad, good = {"latents": 0.1}, {"latents": 1.0}
    monitor, said = Monitor(1000), []
    for step, facts in enumerate([bad, bad, *[good] * DEFAULT.absent, good, bad]):
        changes = monitor.take({"probe": facts, "at": step})
        said.append(([alarm.name for alarm in changes.raised], changes.over))
    name = "constant-latent"
    quiet: tuple[list, list] = ([], [])
    assert said == [([name], []), *[quiet] * DEFAULT.absent, ([], [name]), quiet, ([name], [])]


LOST = {"means": 10.0, "shown": 0.1, "diversity": 1.0}
SHOWN = {"means": 10.0, "shown": 1.0, "diversity": 1.0}


def lost_at(*seen: dict[str, Any]) -> list[int]:
    """The probes of a training of 1,000 steps, one every ten from 600 on, at which lost classes are told."""
    monitor = Monitor(1000)
    changes = [monitor.take({"probe": facts, "at": 600 + 10 * k}) for k, facts in enumerate(seen)]
    return [k for k, change in enumerate(changes) if change.raised]


def test_what_passes_is_no_alarm_and_what_lasts_is() -> None:
    """Samples may look collapsed at one probe (`alike_for`)."""
    assert DEFAULT.alike_for == 2
    assert lost_at(SHOWN, LOST, SHOWN, LOST, SHOWN) == []
    assert lost_at(SHOWN, LOST, SHOWN, LOST, LOST, LOST) == [4]
    assert lost_at(SHOWN, LOST, LOST, SHOWN, LOST) == [2]  # it stands on, and is raised once


def test_sightings_are_counted_on_when_a_run_goes_on() -> None:
    monitor = Monitor(1000)
    monitor.remember({"probe": SHOWN, "at": 590})
    monitor.remember({"probe": LOST, "at": 600})
    assert [alarm.name for alarm in monitor.take({"probe": LOST, "at": 610}).raised] == ["classes-lost"]


def test_what_a_log_says_of_its_alarms_is_remembered() -> None:
    monitor = Monitor(1000)
    first = monitor.take({"probe": {"latents": 0.1}, "at": 5})
    again = Monitor(1000)
    for line in [{"probe": {"latents": 0.1}, "at": 5}, *first.lines(5)]:
        again.remember(line)
    assert again.standing == monitor.standing
    assert again.take({"probe": {"latents": 0.1}, "at": 6}).raised == []
    again.remember({"alarm over": "constant-latent", "at": 7})
    assert not again.standing


def standing(*lines: dict[str, Any]) -> list[list[str]]:
    """What a monitor of 1,000 steps raises at each of these lines, by name."""
    monitor = Monitor(1000, "non-saturating")
    return [[alarm.name for alarm in monitor.take(line).raised] for line in lines]


def probe(step: int, weight: float) -> dict[str, Any]:
    return {"probe": {"weights": {"d": [4, weight, 1.0]}}, "at": step}


def stepped(step: int, name: str = "d") -> dict[str, Any]:
    return {"step": step, f"{name}/gradient": 1.0}


def test_a_player_that_steps_and_does_not_move_is_frozen() -> None:
    lines = probe(0, 1.0), stepped(10), stepped(20), probe(20, 1.0)
    assert standing(*lines) == [[], [], [], ["frozen-player"]]


def test_a_player_that_did_not_step_rested() -> None:
    lines = probe(0, 1.0), stepped(10, "g"), probe(20, 1.0), stepped(20, "g"), probe(40, 1.0)
    assert standing(*lines) == [[]] * 5


def test_a_step_before_the_weights_stood_still_is_none_since() -> None:
    """The line at 10 tells of steps 1 to 10, of which d may have made the third alone, before the probe at 4."""
    lines = probe(0, 1.0), probe(4, 2.0), probe(8, 2.0), stepped(10), probe(12, 2.0), probe(16, 2.0)
    assert standing(*lines) == [[]] * 6


def test_a_line_that_comes_after_its_probe_tells_of_a_frozen_player() -> None:
    """Probes at 10 and 20 come before the lines of these steps; the alarm is raised once."""
    lines = probe(0, 1.0), probe(10, 2.0), stepped(10), probe(20, 2.0), stepped(20), probe(30, 2.0), stepped(30)
    assert standing(*lines) == [[], [], [], [], ["frozen-player"], [], []]


def test_a_line_of_steps_past_the_probe_tells_nothing_of_it() -> None:
    """The line at 15 may tell of step 14, after the probe that saw the weights stand."""
    assert standing(probe(0, 1.0), probe(6, 1.0), stepped(15), probe(16, 2.0)) == [[]] * 4


def test_a_frozen_player_is_found_from_the_log_again() -> None:
    lines = probe(0, 1.0), probe(10, 1.0), stepped(10)
    monitor, again = Monitor(1000), Monitor(1000)
    first = [line for each in lines for line in (each, *monitor.take(each).lines(10))]
    for line in first:
        again.remember(line)
    assert [*again.standing] == ["frozen-player"]
    assert again.standing == monitor.standing
    assert again.take(probe(20, 1.0)).raised == []


def test_a_discriminator_that_rests_raises_nothing(tmp_path: Path) -> None:
    options: dict[str, Any] = {"width": 8, "rest_above": 0.51, "discriminator__lr": 1e-2, "precision": "float32"}
    train("gan", data="ring", out=tmp_path / "run", steps=20, quiet=True, log_every=1, **options)
    lines = logged(tmp_path / "run")
    rested = [line["step"] for line in lines if "step" in line and "discriminator/gradient" not in line]
    sums = [line["probe"]["weights"]["discriminator"] for line in lines if "probe" in line]
    assert rested
    assert any(one == two for one, two in zip(sums, sums[1:]))
    assert "frozen-player" not in raised(tmp_path / "run")


def test_a_generator_whose_gradient_vanished_is_told_so(tmp_path: Path) -> None:
    """A cost times 1e-15: Adam's steps are below what float32 can add to a weight."""
    options = {"width": 8, "objective": "f-kl"}
    session = settle("gan", out=tmp_path / "run", data="ring", run={"steps": 20, "quiet": True}, recipe=options)
    turn: Any = session.plan.stages[0].game.rounds[-1]
    (move,) = turn.moves
    turn.moves = (replace(move, cost=lambda *of: {name: 1e-15 * term for name, term in move.cost(*of).items()}),)
    play(session)
    (alarm,) = [line for line in logged(tmp_path / "run") if line.get("alarm") == "frozen-player"]
    assert "generator have not changed since step" in alarm["evidence"]
    assert "its gradient has vanished" in alarm["evidence"]
    assert "--objective non-saturating" in alarm["advice"]


def test_alarms_are_shown_in_the_progress_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    session = settle("gan", out=tmp_path / "run", data="digits", run={"steps": 10}, recipe={"width": 8})
    model: Any = session.plan.model
    model._latents = lambda n, *_: torch.zeros(n, model.config.latent)
    play(session)
    said = capfd.readouterr().err
    assert "alarm: constant-latent: of 64 latents 2% are distinct. Try: check what draws" in said
    assert "!constant-latent  " in said


def test_networks_that_cannot_be_looked_at_stop_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("no samples today")

    monkeypatch.setattr(GAN, "prior", broken)
    monkeypatch.setattr("simulacra.keeping.Keeper.save_model", lambda self, step: None)
    monkeypatch.setattr("simulacra.figures.write", broken_quietly)
    session = settle("gan", out=tmp_path / "run", data="digits", run={"steps": 10}, recipe={"width": 8})
    monkeypatch.setattr("simulacra.artifact.load", lambda *_: session.plan.model)
    assert play(session).step == 10
    assert capfd.readouterr().err.count("health is not looked at (no samples today)") == 1


def broken_quietly(*_: object) -> None:
    """A preview of nothing."""


@pytest.mark.parametrize("recipe", ["acgan", "cgan", "projection", "infogan", "ebgan", "began", "sngan", "vae"])
def test_every_kind_of_training_is_watched(recipe: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Untrained networks, ten steps: nothing is wrong yet, nothing fails, and a verdict on every network is there."""
    words: dict[str, Any] = {"width": 4} | ({} if recipe == "sngan" else {"batch": 32})
    seldom: dict[str, Any] = {"preview_every": 5, "checkpoint_every": 10}
    train(recipe, data="digits", out=tmp_path / "run", steps=10, **words, **seldom)
    assert "not looked at" not in capfd.readouterr().err
    probes = [line["probe"] for line in logged(tmp_path / "run") if "probe" in line]
    assert all(probe["finite"] and probe["norms"] and probe["weights"] for probe in probes)
    assert (recipe in ("cgan", "projection")) == ("labelled" in probes[-1])
    assert (recipe in ("acgan", "cgan", "projection")) == ("follows" in probes[-1])
    assert (recipe in ("vae", "ebgan", "began")) != ("ranked" in probes[-1])
    assert diagnose(tmp_path / "run").reading


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "is no folder"),
        ({}, "is no run, it has no recipe.json"),
        ({"recipe.json": b"{"}, "the folder is damaged, or not a run's"),
        ({"recipe.json": b'{"format": 99}'}, "format 99"),
        ({"log.jsonl": b"\xff\xfe\x00"}, "the folder is damaged"),
    ],
)
def test_what_is_no_run_is_one_clear_line(
    sound: Path, command: Cli, tmp_path: Path, files: dict[str, bytes] | None, said: str
) -> None:
    place = tmp_path / "place"
    if files is not None:
        place.mkdir()
        (place / "recipe.json").write_bytes((sound / "recipe.json").read_bytes()) if "log.jsonl" in files else None
        for name, content in files.items():
            (place / name).write_bytes(content)
    code, out, err = command("doctor", place)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


def test_a_run_that_goes_on_and_a_torn_log_are_no_trouble(sound: Path, tmp_path: Path) -> None:
    record = json.loads((sound / "recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps(record | {"ended": None}))
    assert diagnose(tmp_path).reading == ["nothing has been logged yet"]
    whole = (sound / "log.jsonl").read_text()
    (tmp_path / "log.jsonl").write_text(whole[: len(whole) // 2] + '\n5\n[]\n{"alarm": 3}\n{"step": 1, "x": "y"}\n')
    found = diagnose(tmp_path)
    assert "going on, or killed" in found.state
    assert 0 < found.step < 600


@pytest.mark.parametrize(("recipe", "most"), [("ssgan", 1.386), ("cogan", 2.773)])
def test_games_without_a_choice_of_objective_are_read_too(recipe: str, most: float, tmp_path: Path) -> None:
    """Networks that know nothing yet pay what ignorance does, of one discriminator or of two."""
    beside = {"beside": "digits"} if recipe == "cogan" else {"labelled": 1}
    train(recipe, data="digits", out=tmp_path, steps=2, width=2, quiet=True, **beside)
    said = diagnose(tmp_path).reading
    assert f"in this game one that tells nothing apart pays {most:.3g}" in said
    (answer,) = [line for line in said if "near 0 normal?" in line]
    assert "It is not near 0 but" in answer
