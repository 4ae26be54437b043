"""Detectors on probes: what must alarm, what must not, and where the one becomes the other."""

from dataclasses import replace
from typing import Any

import pytest

from simulacra.health.alarm import ALARMS, Alarm
from simulacra.health.networks import Probes, Still, detect
from simulacra.health.probe import Probed
from simulacra.health.thresholds import DEFAULT

WELL = Probed(
    step=2000,
    distinct=1.0,
    diversity=0.9,
    nearest=0.8,
    told_apart=0.7,
    latents=1.0,
    within=0.8,
    shown=0.9,
    means=15.0,
    follows=10.0,
    memorised=1.1,
    ranked=0.8,
    flat=2.0,
    slope=0.5,
    labelled=0.9,
    labelled_of=60,
    dead={"generator/1 (ReLU)": 0.1, "discriminator/1 (LeakyReLU)": 0.6},
    norms={"discriminator/0": 5.0},
    weights={"generator": [10, 1.0, 2.0], "discriminator": [10, 3.0, 4.0]},
)
BEFORE = replace(WELL, step=1000, weights={"generator": [10, 1.5, 2.0], "discriminator": [10, 3.5, 4.0]})
FIRST = replace(BEFORE, step=0, norms={"discriminator/0": 1.0})


def names(objective: str = "non-saturating", young: bool = False, before: Probed = BEFORE, **changes: Any) -> list[str]:
    """The alarms of a healthy probe with these changes."""
    seen = Probes(replace(WELL, **changes), before, FIRST, young, objective)
    return [alarm.name for alarm in detect(seen, DEFAULT)]


def test_a_healthy_probe_raises_nothing() -> None:
    assert names() == []
    assert detect(Probes(Probed(step=1)), DEFAULT) == []


@pytest.mark.parametrize(
    ("bad", "good", "name"),
    [
        ({"finite": False}, {}, "samples-not-finite"),
        ({"latents": 0.5}, {"latents": 0.95}, "constant-latent"),
        ({"distinct": 0.85}, {"distinct": 0.95}, "collapse"),
        ({"diversity": 0.24}, {"diversity": 0.26}, "collapse"),
        ({"nearest": 0.14}, {"nearest": 0.16}, "collapse"),
        ({"nearest": 0.14, "room": 1.0}, {"nearest": 0.14, "room": 0.9}, "collapse"),
        ({"shown": 0.4}, {"shown": 0.5}, "classes-lost"),
        ({"shown": 0.4}, {"shown": 0.4, "means": 3.0}, "classes-lost"),
        ({"follows": 1.9}, {"follows": 2.1}, "labels-ignored"),
        ({"within": 0.09}, {"within": 0.11}, "latent-ignored"),
        ({"flat": 0.9e-4}, {"flat": 1.1e-4}, "discriminator-useless"),
        ({"ranked": 0.5, "told_apart": 0.95}, {"ranked": 0.5, "told_apart": 0.6}, "discriminator-useless"),
        ({"ranked": 0.1, "told_apart": 0.95}, {"ranked": 0.6, "told_apart": 0.95}, "discriminator-useless"),
        ({"labelled": 0.55}, {"labelled": 0.65}, "discriminator-ignores-labels"),
        ({"dead": {"g/1 (ReLU)": 0.51}}, {"dead": {"g/1 (ReLU)": 0.5}}, "dead-units"),
        ({"dead": {"g/1 (LeakyReLU)": 0.96}}, {"dead": {"g/1 (LeakyReLU)": 0.9}}, "dead-units"),
        ({"norms": {"discriminator/0": 51.0}}, {"norms": {"discriminator/0": 49.0}}, "exploding-weights"),
        ({"memorised": 0.49}, {"memorised": 0.51}, "memorisation"),
        ({"overfit": 0.7, "surely": 5.0}, {"overfit": 0.1, "surely": 5.0}, "memorisation"),
        ({"overfit": 0.7, "surely": 5.0}, {"overfit": 0.7, "surely": 3.0}, "memorisation"),
    ],
)
def test_where_an_alarm_begins(bad: dict, good: dict, name: str) -> None:
    assert names(**bad) == [name]
    assert names(**good) == []


def test_samples_that_still_part_are_no_collapse() -> None:
    """All networks begin with samples that are alike: 0.2 after 0.15 is on its way, 0.2 after 0.2 is not."""
    assert names(diversity=0.2, shown=0.1, before=replace(BEFORE, diversity=0.15)) == []
    assert names(diversity=0.2, before=replace(BEFORE, diversity=0.2)) == ["collapse"]


def test_only_what_is_wrong_from_the_start_is_told_of_a_young_training() -> None:
    bad: dict[str, Any] = {
        "diversity": 0.1,
        "ranked": 0.5,
        "told_apart": 1.0,
        "memorised": 0.1,
        "within": 0.0,
        "labelled": 0.5,
    }
    assert names(young=True, **bad) == []
    dead = {"dead": {"g/1 (ReLU)": 1.0}}
    assert names(young=True, latents=0.1, **dead) == ["constant-latent"]
    assert names(young=True, step=0, **dead) == names(**dead) == ["dead-units"]


def test_the_slope_of_a_critic_matters_under_wasserstein_alone() -> None:
    assert names("wasserstein", slope=11.0) == ["unconstrained-critic"]
    assert names("wasserstein", slope=9.0) == []
    assert names("hinge", slope=11.0) == []


def frozen(objective: str | None = "non-saturating", **still: Still) -> list[Alarm]:
    """The alarms of a healthy probe, some of whose players are still."""
    return detect(Probes(WELL, BEFORE, FIRST, objective=objective, still=still), DEFAULT)


def test_a_frozen_player_is_named() -> None:
    (alarm,) = frozen(discriminator=Still(1000, [2.0, 3.0], 2.0))
    assert alarm.name == "frozen-player"
    assert alarm.evidence == "the weights of discriminator have not changed since step 1,000"
    assert alarm.advice == ALARMS["frozen-player"].advice


def test_a_player_that_rests_is_not_frozen() -> None:
    assert frozen(discriminator=Still(1000)) == []
    (alarm,) = frozen(discriminator=Still(1000), generator=Still(500, [1.0]))
    assert alarm.evidence == "the weights of generator have not changed since step 500"


@pytest.mark.parametrize(
    ("gradient", "start", "gone"),
    [
        (1e-23, None, True),
        (0.9 * DEFAULT.smallest * 10**0.5, None, True),  # of 10 parameters
        (1.1 * DEFAULT.smallest * 10**0.5, None, False),
        (0.9e-3, 1.0, True),
        (1.1e-3, 1.0, False),
        (0.0, 0.0, True),
    ],
)
def test_a_player_stands_because_its_gradient_vanished(gradient: float, start: float | None, gone: bool) -> None:
    (alarm,) = frozen("f-kl", generator=Still(90, [gradient] * 3, start))
    assert alarm.name == "frozen-player"
    assert ("its gradient has vanished" in alarm.evidence) == gone
    assert ("--objective non-saturating" in alarm.advice) == gone
    assert ("check the learning rate" in alarm.advice) != gone


def test_what_to_try_against_a_vanished_gradient_is_of_the_player_and_the_recipe() -> None:
    gone = Still(90, [1e-20])
    generator = [frozen(objective, generator=gone)[0].advice for objective in ("non-saturating", "wasserstein")]
    assert ["--objective wasserstein" in advice for advice in generator] == [True, False]
    assert ["--objective non-saturating" in advice for advice in generator] == [False, True]
    assert "--instance-noise" in frozen(discriminator=gone)[0].advice
    for player in ("generator", "discriminator"):
        assert "--" not in frozen(None, **{player: gone})[0].advice  # began, cogan, ... have none of these options


def test_players_that_stand_for_two_reasons_are_one_alarm() -> None:
    (alarm,) = frozen("minimax", discriminator=Still(0, [1.0]), generator=Still(90, [1e-20]))
    assert "discriminator have not changed since step 0; the weights of generator" in alarm.evidence
    assert "check the learning rate" in alarm.advice
    assert "--objective non-saturating" in alarm.advice


@pytest.mark.parametrize(
    ("layer", "objective", "advice"),
    [
        ("generator/g.1", "non-saturating", "a lower generator.lr, or --schedule cosine, which lets it fall"),
        (
            "discriminator/1",
            "non-saturating",
            "a lower discriminator.lr, --spectral true, --clip 0.01 or --orthogonal 1e-4",
        ),
        ("discriminator/1", None, "a lower discriminator.lr, or --schedule cosine"),  # as of began
        ("vae/encoder.1", None, "a lower learning rate"),
    ],
)
def test_bounds_on_weights_are_advised_where_they_bind(layer: str, objective: str | None, advice: str) -> None:
    now, first = replace(WELL, norms={layer: 51.0}), replace(FIRST, norms={layer: 1.0})
    (alarm,) = detect(Probes(now, BEFORE, first, objective=objective), DEFAULT)
    assert alarm.name == "exploding-weights"
    assert alarm.advice == advice


def test_a_probe_is_read_back_from_its_line_and_unknown_facts_are_left_out() -> None:
    line = WELL.line
    assert Probed.read(line) == WELL
    assert Probed.read({**line, "probe": line["probe"] | {"of a later version": 1}}) == WELL
