"""Detectors on terms: what must alarm, what must not, and where the one becomes the other."""

from math import pi, sin
from random import Random
from typing import Any

import pytest

from simulacra.health.history import FIRST, MOST, History
from simulacra.health.terms import KNOWS_NOTHING, detect
from simulacra.health.thresholds import DEFAULT

GOAL = 10_000


def history(count: int, objective: str | None = "non-saturating", classes: int | None = None, **terms: Any) -> History:
    """`count` lines, one every ten steps; a term is a number or a function of the line's number."""
    made = History(GOAL, objective, classes)
    for k in range(count):
        values = {name.replace("__", "/"): value(k) if callable(value) else value for name, value in terms.items()}
        made.add({"step": 10 * (k + 1), **values})
    return made


def said_of(accuracy: float) -> dict[str, Any]:
    return {"discriminate__C(x)": accuracy}


def names(made: History) -> list[str]:
    return [alarm.name for alarm in detect(made, DEFAULT)]


HEALTHY: dict[str, Any] = {
    "generator__gradient": 30.0,
    "discriminate__real": 0.3,
    "discriminate__fake": 0.3,
    "discriminate__D(x)": 0.8,
    "discriminate__D(G(z))": 0.2,
}


def test_a_healthy_training_raises_nothing() -> None:
    assert names(history(400, **HEALTHY)) == []


def test_nothing_is_said_without_lines() -> None:
    assert names(History(GOAL)) == []
    assert names(history(3, **HEALTHY)) == []


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1.1 * DEFAULT.exploding, ["exploding-gradient"]),
        (0.9 * DEFAULT.exploding, []),
        (1.1 * DEFAULT.vanishing, []),
        (0.9 * DEFAULT.vanishing, ["vanishing-gradient"]),
    ],
)
def test_the_gradient_is_measured_by_its_own_start(factor: float, said: list[str]) -> None:
    gradient = lambda k: 2.0 if k < 100 else 2.0 * factor  # noqa: E731
    assert names(history(400, generator__gradient=gradient)) == said


@pytest.mark.parametrize(("norm", "said"), [(1.1e-6, []), (0.9e-6, ["vanishing-gradient"])])
def test_a_gradient_below_adams_epsilon_per_parameter_is_vanishing_from_the_start(norm: float, said: list[str]) -> None:
    made = history(200, generator__gradient=norm)
    assert names(made) == []  # nothing is known of the generator's size
    made.parameters = 10_000  # sqrt of it: 100, so that 1e-6 is 1e-8 each
    assert names(made) == said


@pytest.mark.parametrize(
    ("objective", "said"),
    [("f-kl", "--objective non-saturating"), ("non-saturating", "--objective wasserstein"), (None, "discriminator.lr")],
)
def test_a_vanishing_gradient_is_advised_another_objective_where_there_are_some(
    objective: str | None, said: str
) -> None:
    (alarm,) = detect(history(400, objective, generator__gradient=lambda k: 2.0 if k < 100 else 1e-9), DEFAULT)
    assert said in alarm.advice
    assert ("--objective" in alarm.advice) == (objective is not None)


def test_the_first_tenth_is_not_judged() -> None:
    gradient = lambda k: 2.0 if k < 20 else 1e9  # noqa: E731
    assert names(history(99, generator__gradient=gradient)) == []
    assert names(history(101, generator__gradient=gradient)) == ["exploding-gradient"]


def test_a_window_has_to_look_bad_not_a_step() -> None:
    spike = lambda k: 1e9 if k == 399 else 2.0  # noqa: E731
    assert names(history(400, generator__gradient=spike)) == []


@pytest.mark.parametrize("objective", KNOWS_NOTHING)
def test_a_discriminator_that_pays_next_to_nothing_overpowers(objective: str) -> None:
    half = 0.5 * DEFAULT.overpowered * KNOWS_NOTHING[objective]
    for factor, said in ((0.9, ["discriminator-overpowers"]), (1.1, [])):
        costs: dict[str, Any] = {"discriminate__real": factor * half, "discriminate__fake": factor * half}
        assert names(history(400, objective, **costs)) == said


def test_a_cost_without_a_bound_is_not_judged() -> None:
    assert names(history(400, "wasserstein", discriminate__real=1e-9, discriminate__fake=-1e-9)) == []
    assert names(history(400, None, discriminate__real=1e-9, discriminate__fake=1e-9)) == []


def test_the_evidence_names_the_numbers() -> None:
    terms: dict[str, Any] = HEALTHY | {
        "discriminate__real": 1e-4,
        "discriminate__fake": 1e-4,
        "discriminate__D(x)": 0.9999,
    }
    (alarm,) = detect(history(400, **terms), DEFAULT)
    assert "0.0002" in alarm.evidence
    assert "1.39" in alarm.evidence
    assert "D(x) 1" in alarm.evidence
    assert "discriminator.lr" in alarm.advice
    assert alarm.step == 4000


@pytest.mark.parametrize(("accuracy", "said"), [(0.14, ["classifier-at-chance"]), (0.16, [])])
def test_a_classifier_at_chance(accuracy: float, said: list[str]) -> None:
    assert names(history(400, classes=10, **said_of(accuracy))) == said
    assert names(history(400, classes=None, **said_of(accuracy))) == []


def swinging(amplitude: float, period: int, noise: float = 0.0) -> History:
    random = Random(0)

    def real(k: int) -> float:
        return 0.7 + amplitude * sin(2 * pi * k / period) + noise * random.uniform(-1.0, 1.0)

    terms: dict[str, Any] = {"discriminate__D(x)": real, "discriminate__D(G(z))": 0.4}
    return history(400, **terms)


def test_swings_are_found_with_their_period() -> None:
    (alarm,) = detect(swinging(0.5, 40, noise=0.1), DEFAULT)
    assert alarm.name == "oscillation"
    assert "every 400 steps" in alarm.evidence  # 40 lines of ten steps


def test_small_swings_slow_drift_and_noise_are_no_oscillation() -> None:
    assert names(swinging(0.1, 40)) == []
    assert names(swinging(0.5, 390)) == []
    assert names(swinging(0.0, 40, noise=1.0)) == []


def test_a_rollback_is_told_until_a_window_is_past() -> None:
    made = history(200, **HEALTHY)
    made.add({"event": "rollback", "from": 1900, "failed_at": 2000, "reason": "'fool' is not finite"})
    (alarm,) = detect(made, DEFAULT)
    assert alarm.name == "not-finite"
    assert "'fool' is not finite" in alarm.evidence
    for step in range(2010, 3010, 10):
        made.add({"step": step})
    assert names(made) == []


def test_gradients_since_a_step_are_of_lines_that_tell_of_later_steps_alone() -> None:
    """Lines at 10, 20, ... tell of steps 1 to 10, 11 to 20, ...; at 30 and 40 the player rested."""
    made = History(GOAL)
    for k in (1, 2, 3, 4, 5):
        made.add({"step": 10 * k} | ({} if k in (3, 4) else {"g/gradient": float(k)}))
    assert made.gradients("g", 0) == [1.0, 2.0, 5.0]
    assert made.gradients("g", 5) == [2.0, 5.0]  # the first line may tell of step 3
    assert made.gradients("g", 20) == [5.0]
    assert made.gradients("g", 41) == []
    assert made.gradients("d", 0) == []


def test_the_oldest_line_of_late_tells_of_steps_after_those_that_are_dropped() -> None:
    made = History(100)  # late is 30 steps
    for k in range(1, 11):
        made.add({"step": 10 * k, "g/gradient": float(k)})
    assert [line["step"] for line in made.late] == [70, 80, 90, 100]
    assert made.gradients("g", 60) == [7.0, 8.0, 9.0, 10.0]
    assert made.gradients("g", 61) == [8.0, 9.0, 10.0]


def test_memory_is_bounded() -> None:
    made = History(10**9)
    for k in range(3 * MOST):
        made.add({"step": k + 1, "generator/gradient": float(k)})
    assert (len(made.first), len(made.late)) == (FIRST, MOST)
    assert made.beginning("generator/gradient", 5) == 2.0
