"""Detectors on probes: functions of what was seen now, before and at the start, that return alarms."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import sqrt
from statistics import median
from typing import NamedTuple

from simulacra.health.alarm import ALARMS, Alarm, alarm, where_gradient_vanished, where_weights_exploded
from simulacra.health.probe import Probed
from simulacra.health.thresholds import Thresholds


class Still(NamedTuple):
    """A player whose weights are those of a probe at step `since`: the norms of the gradients that it stepped along
    since then, none where it rested, and their norm at the `start` of training, where that is known."""

    since: int
    gradients: Sequence[float] = ()
    start: float | None = None


class Probes(NamedTuple):
    """The latest probe, the one before it, the first; whether training is too `young` to be judged; its objective; the
    players that are `still`, by name."""

    now: Probed
    before: Probed | None = None
    first: Probed | None = None
    young: bool = False
    objective: str | None = None
    still: Mapping[str, Still] = {}


def samples(seen: Probes, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether samples are numbers, differ, and differ as real rows do."""
    now, step = seen.now, seen.now.step
    if not now.finite:
        yield alarm("samples-not-finite", step, "samples hold NaN or infinite values")
    if now.latents is not None and now.latents < bounds.distinct:
        yield alarm("constant-latent", step, f"of 64 latents {now.latents:.0%} are distinct")
    if now.distinct is None or now.diversity is None or now.nearest is None or seen.young:
        return
    if now.distinct < bounds.distinct or (alike(now, bounds) and not rising(seen, bounds)):
        words = f"samples are {now.diversity:.2g} times as far apart as real rows, nearest ones {now.nearest:.2g} times"
        words = f"{words}; {now.distinct:.0%} of them are distinct"
        yield alarm("collapse", step, words, patience=bounds.alike_for)


def alike(now: Probed, bounds: Thresholds) -> bool:
    """Whether samples lie nearer to each other than real rows do, and than their latents let them."""
    assert now.diversity is not None
    assert now.nearest is not None
    room = 1.0 if now.room is None else now.room
    return now.diversity < bounds.diversity or now.nearest < bounds.nearest * room


def rising(seen: Probes, bounds: Thresholds) -> bool:
    """Whether samples were less apart before: networks begin with samples that are alike."""
    before, now = seen.before and seen.before.diversity, seen.now.diversity
    return before is None or now is None or now > bounds.rising * before


def classes(seen: Probes, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether samples show the classes of the data, those they are asked for, and more than one row of each."""
    now, step = seen.now, seen.now.step
    if now.means is None or now.means < bounds.significant or seen.young:
        return
    if now.shown is not None and now.shown < bounds.classes and not rising(seen, bounds):
        words = f"samples show {now.shown:.0%} of the classes that as many real rows show"
        yield alarm("classes-lost", step, words, patience=bounds.alike_for)
    if now.follows is not None and now.follows < bounds.unrelated:
        words = f"class means find the classes asked for {now.follows:.1f} standard errors above chance"
        yield alarm("labels-ignored", step, f"{words}, those of real rows {now.means:.1f}")
    if now.within is not None and now.within < bounds.within:
        yield alarm("latent-ignored", step, f"samples of a class are {now.within:.2g} times as far apart as real rows")


def critic(seen: Probes, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether the discriminator ranks rows, by scores of a sensible size."""
    now, step = seen.now, seen.now.step
    if now.ranked is None or now.flat is None or seen.young:
        return
    if seen.objective == "wasserstein" and now.slope is not None and now.slope > bounds.slope:
        words = f"scores differ by {now.slope:.3g} per unit of distance, and by 1 at most if the critic is constrained"
        yield alarm("unconstrained-critic", step, words)
    if now.flat < bounds.flat:
        yield alarm("discriminator-useless", step, f"all its scores are alike, to a deviation of {now.flat:.1g}")
    elif now.ranked < bounds.unranked and now.told_apart is not None and now.told_apart > bounds.told_apart:
        words = f"it ranks {now.ranked:.0%} of pairs rightly, though {now.told_apart:.0%} of rows lie next to their own"
        yield alarm("discriminator-useless", step, f"{words} kind", patience=bounds.unranked_for)


def labels_of_critic(seen: Probes, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether a discriminator that is told labels makes anything of them."""
    now = seen.now
    if now.labelled is None or not now.labelled_of or seen.young:
        return
    above = (now.labelled - 0.5) * 2.0 * now.labelled_of**0.5
    if above < bounds.unrelated:
        words = f"it prefers the right label to another one on {now.labelled:.0%} of {now.labelled_of} real rows"
        yield alarm("discriminator-ignores-labels", now.step, words)


def units(seen: Probes, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether layers have units that nothing switches on, from the start or for good."""
    worst: dict[str, float] = {}
    if seen.young and seen.now.step > 0:
        return
    for layer, share in seen.now.dead.items():
        if share > (bounds.dead_leaky if "Leaky" in layer or "PReLU" in layer else bounds.dead):
            worst[layer] = share
    if worst:
        layer = max(worst, key=lambda name: worst[name])
        more = f", and in {len(worst) - 1} more" if len(worst) > 1 else ""
        yield alarm("dead-units", seen.now.step, f"{worst[layer]:.0%} of the units of {layer} are never on{more}")


def frozen(seen: Probes, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether players step and do not move: those that rest are meant to stand."""
    evidence, advice = [], []
    for player, still in seen.still.items():
        if still.gradients:
            gone = _vanished(still, seen.now.weights[player][0], bounds)
            evidence.append(f"the weights of {player} have not changed since step {still.since:,}{gone}")
            known = ALARMS["frozen-player"].advice
            advice.append(where_gradient_vanished(player, seen.objective) if gone else known)
    if evidence:
        yield alarm("frozen-player", seen.now.step, "; ".join(evidence), "; ".join(dict.fromkeys(advice)))


def _vanished(still: Still, parameters: float, bounds: Thresholds) -> str:
    """That the gradient of so many parameters is next to nothing, as the end of a sentence; empty where it is not."""
    now = median(still.gradients)
    if now / sqrt(parameters) >= bounds.smallest and now >= bounds.vanishing * (still.start or 0.0):
        return ""
    before = "" if still.start is None else f", and was {still.start:.2g} at the start"
    return f", as its gradient has vanished (its norm is {now:.2g}{before})"


def weights(seen: Probes, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether weights have grown far."""
    now, first = seen.now, seen.first
    grown = {n: s / first.norms[n] for n, s in now.norms.items() if first and first.norms.get(n, 0.0) > 1e-3}
    if grown and (ratio := max(grown.values())) > bounds.weights:
        layer = max(grown, key=lambda name: grown[name])
        words = f"the spectral norm of {layer} is {now.norms[layer]:.3g}, {ratio:.0f} times that at the start"
        advice = where_weights_exploded(layer.split("/")[0], seen.objective)
        yield alarm("exploding-weights", now.step, words, advice)


def memory(seen: Probes, bounds: Thresholds) -> Iterator[Alarm]:
    """Whether samples lie nearer to training rows than those do to each other, or the discriminator knows them."""
    now, near, said = seen.now, seen.now.memorised, seen.now.overfit
    if seen.young:
        return
    if near is not None and near < bounds.memorised:
        words = f"samples are {near:.2g} times as far from the nearest training row as training rows are"
        yield alarm("memorisation", now.step, words)
    elif said is not None and said > bounds.overfit and (now.surely or 0.0) > bounds.significant:
        words = f"the discriminator scores held rows {said:.0%} of the way from training rows to samples"
        yield alarm("memorisation", now.step, words)


DETECTORS: tuple[Callable[[Probes, Thresholds], Iterator[Alarm]], ...] = (
    samples, classes, critic, labels_of_critic, units, frozen, weights, memory,
)  # fmt: skip


def detect(seen: Probes, bounds: Thresholds) -> list[Alarm]:
    """What the networks say."""
    return [each for detector in DETECTORS for each in detector(seen, bounds)]
