"""The answers that doctor gives: what they depend on, and that they never contradict an alarm."""

from collections.abc import Collection
from dataclasses import replace
from math import log

import pytest

from simulacra.health import reading
from simulacra.health.history import History
from simulacra.health.thresholds import DEFAULT
from tests.health.test_health_networks import WELL

GOAL = 4000
ALIKE = replace(WELL, diversity=0.2)


def collapse(probed=WELL, alarms: Collection[str] = ()) -> str:
    """The verdict."""
    answer = next(reading.of_samples(probed, GOAL, alarms))
    return answer.removeprefix("is this collapse? ").split(":")[0]


def test_collapse_has_four_answers() -> None:
    assert collapse() == "No"
    assert collapse(alarms=["classes-lost"]) == "Yes"
    assert collapse(ALIKE).startswith("It may be, though no alarm stands")
    assert collapse(replace(WELL, shown=0.4)).startswith("It may be")
    assert collapse(replace(ALIKE, step=499)) == "Too early to say before step 500"
    assert collapse(replace(ALIKE, step=499), ["constant-latent"]) == "Yes"


def test_nothing_is_said_of_samples_that_nobody_looked_at() -> None:
    assert collapse(None).startswith("The log does not say")


def zero(
    cost: float,
    alarms: Collection[str] = (),
    objective: str | None = "non-saturating",
    ignorance: float | None = None,
) -> str:
    """The answer on a discriminator's cost near 0."""
    history = History(GOAL, objective, None, ignorance)
    for step in range(20):
        history.add({"step": step, "discriminate/real": cost / 2, "discriminate/fake": cost / 2})
    (answer,) = [line for line in reading.of_game(history, alarms) if "near 0 normal?" in line]
    return answer.split("? ")[1]


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.001, "Not for so long"), (0.1, "Yes, early on"), (0.5, "Yes for a while"), (1.0, "It is not")],
)
def test_a_cost_near_zero_is_read_by_its_share_of_ignorance(share: float, words: str) -> None:
    assert zero(share * 2 * log(2)).startswith(words)


@pytest.mark.parametrize("name", ["vanishing-gradient", "frozen-player", "discriminator-useless"])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_generator_is_not_said_to_learn_under_an_alarm(name: str, share: float) -> None:
    answer = zero(share * 2 * log(2), [name])
    assert answer.startswith("Not here")
    assert name in answer
    assert zero(share * 2 * log(2), ["data-duplicates"]) == zero(share * 2 * log(2))


def test_what_has_no_bound_or_is_not_known_is_said_so() -> None:
    assert zero(0.1, objective="wasserstein").startswith("It has no meaning under wasserstein: 0 is no bound")
    assert zero(0.1, objective=None).startswith("What one that knows nothing pays is not known")
    assert zero(0.1, objective=None, ignorance=1.0).startswith("Yes, early on and even later: it is 10%")
    assert DEFAULT.grown(GOAL) == 500


@pytest.mark.parametrize(
    ("terms", "said", "unsaid"),
    [
        (
            {"reconstruction": 80.0, "kl": 20.0},
            ("reconstruction and kl is the negative ELBO in nats, a bound", "a kl near 0 means"),
            "weighted",
        ),
        (
            {"reconstruction": 80.0, "kl": 2.0, "kl_plain": 20.0},
            ("reconstruction and kl_plain is", "has kl in its place: weighted", "a kl_plain near 0 means"),
            "reconstruction and kl is",
        ),
        (
            {"reconstruction": 80.0, "kl_1": 20.0, "kl_2": 0.1},
            ("reconstruction and kl_1 and kl_2 is", "a kl_k near 0 means that layer k"),
            "weighted",
        ),
        (
            {"reconstruction": 80.0, "kl_1": 20.0, "kl_2": 0.1, "kl_plain": 18.0},
            ("reconstruction and kl_plain is", "kl_1 and kl_2 in its place", "if it is not held above it"),
            "kl_1 and kl_2 is",
        ),
        (
            {"missing": 60.0, "kl": 9.0},
            ("missing and kl is the negative ELBO in nats, a bound on what is missing",),
            "weighted",
        ),
        (
            {"reconstruction": 80.0, "ratio": 1.0, "contrast": 9.0},
            ("reconstruction and ratio and contrast is", "estimates it, no bound"),
            "kl",
        ),
        ({"mse": 1.0, "kl_plain": 2.0}, (), "ELBO"),
    ],
)
def test_the_bound_is_the_sum_of_terms_as_they_are(terms: dict, said: tuple[str, ...], unsaid: str) -> None:
    history = History(GOAL)
    for step in range(20):
        history.add({"step": step} | {f"descend/{name}": value for name, value in terms.items()})
    words = "\n".join(line for line in reading.of_one_player(history) if "began" not in line)
    assert all(part in words for part in said)
    assert unsaid not in words
