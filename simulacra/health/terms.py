"""Detectors on the terms of a log: functions of a history that return alarms."""

from collections.abc import Callable, Iterator
from math import log, sqrt

import numpy as np

from simulacra.health.alarm import Alarm, alarm, where_gradient_vanished
from simulacra.health.history import History
from simulacra.health.thresholds import Thresholds

GRADIENT = "generator/gradient"
COST = tuple(f"discriminate/{name}" for name in ("real", "fake", "pair", "real1", "fake1", "real2", "fake2"))
"""The discriminator's own terms, of one or two of them, without penalties. Games with other players (`vaegan`, `avb`)
are not watched here."""
REAL, FAKE = "discriminate/D(x)", "discriminate/D(G(z))"

KNOWS_NOTHING: dict[str, float] = {
    **dict.fromkeys(("minimax", "non-saturating", "maximum-likelihood", "f-gan"), 2 * log(2)),
    "least-squares": 0.25,
    "least-squares-pearson": 1.0,
    "hinge": 2.0,
    "relativistic": log(2),
}
"""The discriminator's cost where it tells nothing apart, under objectives whose costs have 0 as their bound: that of
D = 1/2 (Goodfellow et al. 2014, Theorem 1, as a cost), ½ between labels 0 and 1, scores of 0 elsewhere."""


def ignorance(history: History) -> float | None:
    """What a discriminator that tells nothing apart pays in this game, where that is known and 0 is its bound."""
    return KNOWS_NOTHING.get(history.objective or "", history.ignorance)


def not_finite(history: History, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether training went back because of a NaN, within a window of now."""
    for event in history.broken[-1:]:
        at = event.get("failed_at", event.get("from", 0))
        if at > history.step - bounds.window * history.goal:
            times = f"{len(history.broken)} times, last " if len(history.broken) > 1 else ""
            yield alarm("not-finite", history.step, f"training broke off {times}as {event.get('reason', 'of NaN')}")


def generator_gradient(history: History, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether the generator's gradient left its start, or is too small to do anything."""
    now = history.typical(GRADIENT, bounds.window, bounds.lines)
    start = history.beginning(GRADIENT, bounds.start)
    if now is None or start is None or bounds.young(history.step, history.goal):
        return
    said = f"the generator's gradient has norm {now:.2g}, and had {start:.2g} at the start"
    each = None if history.parameters is None else now / sqrt(history.parameters)
    if now > bounds.exploding * start > 0:
        yield alarm("exploding-gradient", history.step, said)
    elif now < bounds.vanishing * start or (each is not None and each < bounds.smallest):
        yield alarm("vanishing-gradient", history.step, said, where_gradient_vanished("generator", history.objective))


def overpowering(history: History, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether the discriminator's cost has been next to nothing all through a window, of what ignorance costs."""
    most, cost = ignorance(history), discriminator_cost(history, bounds)
    if most is None or cost is None or bounds.young(history.step, history.goal):
        return
    if max(cost, 0.0) < bounds.overpowered * most:
        words = f"the discriminator's cost is {cost:.2g}, where one that tells nothing apart pays {most:.3g}"
        yield alarm("discriminator-overpowers", history.step, words + seen(history, bounds))


def seen(history: History, bounds: Thresholds) -> str:
    """What the discriminator says of real and generated rows, as the end of a sentence."""
    real, fake = (history.typical(name, bounds.window, bounds.lines) for name in (REAL, FAKE))
    return "" if real is None or fake is None else f" (D(x) {real:.3g}, D(G(z)) {fake:.3g})"


def discriminator_cost(history: History, bounds: Thresholds) -> float | None:
    """The median of the discriminator's own terms over a window, summed; None where there are none."""
    values = [history.typical(name, bounds.window, bounds.lines) for name in COST]
    present = [value for value in values if value is not None]
    return sum(present) if present else None


def classifier(history: History, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether an auxiliary classifier finds the classes of real rows no better than by chance."""
    found = history.window("discriminate/C(x)", bounds.window, bounds.lines)
    count = history.classes
    if (
        found
        and count
        and not bounds.young(history.step, history.goal)
        and (mean := sum(found) / len(found)) < bounds.chance / count
    ):
        words = f"the classifier is right about {mean:.0%} of the real rows it trains on, chance is {1 / count:.0%}"
        yield alarm("classifier-at-chance", history.step, words)


def oscillation(history: History, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether the gap between the scores swings: its autocorrelation turns at half a period and returns at one, three
    of which at least are in sight."""
    pairs = [(line[REAL], line[FAKE]) for line in history.late if REAL in line and FAKE in line]
    if len(pairs) < bounds.swings or bounds.young(history.step, history.goal):
        return
    gaps = np.subtract(*np.array(pairs).T)
    size, level = _untrended(gaps).std(), np.abs(gaps).mean()
    if size > bounds.amplitude * level and (period := _period(gaps, bounds.swing)):
        steps = period * (history.late[-1]["step"] - history.late[0]["step"]) // (len(history.late) - 1)
        words = f"D(x) - D(G(z)) swings with a deviation of {size:.2g} around {gaps.mean():.2g}, about every"
        yield alarm("oscillation", history.step, f"{words} {steps:,} steps")


def _untrended(values: np.ndarray) -> np.ndarray:
    times = np.arange(len(values))
    return values - np.polyval(np.polyfit(times, values, 1), times)


def _period(values: np.ndarray, swing: float) -> int | None:
    """The period of a series in entries, if it has one that fits in three times."""
    rest = _untrended(values)
    n = len(rest)
    raw = np.correlate(rest, rest, "full")[n - 1 :]
    r = raw / max(raw[0], 1e-300) * n / (n - np.arange(n))
    half = 2 + int(r[2 : n // 6 + 1].argmin())
    first = 2 * half - half // 4
    period = first + int(r[first : 2 * half + half // 4 + 1].argmax())
    return period if r[half] < -swing and r[period] > swing else None


DETECTORS: tuple[Callable[[History, Thresholds], Iterator[Alarm]], ...] = (
    not_finite,
    generator_gradient,
    overpowering,
    classifier,
    oscillation,
)


def detect(history: History, bounds: Thresholds) -> list[Alarm]:
    """What the terms say."""
    return [each for detector in DETECTORS for each in detector(history, bounds)]
