"""What the numbers of a training mean under its objective: the reading that people ask for."""

from collections.abc import Collection, Iterator, Sequence

from simulacra.health import terms
from simulacra.health.history import History
from simulacra.health.networks import alike
from simulacra.health.probe import Probed
from simulacra.health.terms import FAKE, REAL
from simulacra.health.thresholds import DEFAULT, Thresholds

EQUILIBRIUM = {
    **dict.fromkeys(
        ("minimax", "non-saturating", "maximum-likelihood", "f-gan"),
        "a discriminator that tells nothing apart says D(x) = D(G(z)) = 0.5 and pays 2 log 2 = 1.386 (log 2 = 0.693 on "
        "each side; -log 4 of the value that it ascends)",
    ),
    "least-squares": "a discriminator that tells nothing apart scores everything 0.5 and pays 0.25 (real rows "
    "aim at 1, generated ones at 0)",
    "least-squares-pearson": "a discriminator that tells nothing apart scores everything 0 and pays 1",
    "hinge": "a discriminator that scores everything 0 pays 2; it pays nothing for scores beyond +1 and -1",
    "relativistic": "a discriminator that tells no pair apart pays log 2 = 0.693; only differences of scores mean "
    "anything",
    "wasserstein": "D(x) - D(G(z)) estimates the Wasserstein distance, up to the critic's Lipschitz constant: it has "
    "no scale of its own and ought to fall. Single scores mean nothing, their sign neither",
}
"""What scores and costs are where the discriminator knows nothing."""
COLLAPSE = {"collapse", "classes-lost", "constant-latent"}
LOST = ("discriminator-overpowers", "vanishing-gradient", "frozen-player", "discriminator-useless")
"""Alarms under which the generator learns next to nothing of the discriminator."""


def of_game(history: History, alarms: Collection[str] = (), bounds: Thresholds = DEFAULT) -> Iterator[str]:
    """What discriminator and generator say, and what it would be at equilibrium; `alarms`: names of those that
    stand."""
    cost, said = terms.discriminator_cost(history, bounds), terms.seen(history, bounds)
    if cost is None:
        return
    yield f"lately the discriminator's cost is {cost:.3g}{said}"
    if (words := EQUILIBRIUM.get(history.objective or "")) is not None:
        yield f"under {history.objective}, {words}"
    elif (most := terms.ignorance(history)) is not None:
        yield f"in this game one that tells nothing apart pays {most:.3g}"
    yield _is_zero_normal(history, cost, alarms)
    yield from _gap(history, bounds)
    yield (
        "costs of the two players do not say whether samples improve, as each is measured against the other: judge by "
        "scores (simulacra evaluate) and by the previews"
    )


def _is_zero_normal(history: History, cost: float, alarms: Collection[str]) -> str:
    """The answer to the question asked most."""
    most = terms.ignorance(history)
    asked = "is a discriminator's cost near 0 normal?"
    if most is None and history.objective is None:
        return f"{asked} What one that knows nothing pays is not known of this game: look at the samples"
    if most is None:
        return f"{asked} It has no meaning under {history.objective}: 0 is no bound"
    share = cost / most
    if share < DEFAULT.overpowered:
        return f"{asked} Not for so long: at {share:.1%} of ignorance there is next to nothing left to learn from it"
    if lost := next((name for name in LOST if name in alarms), None):
        return f"{asked} Not here, at {share:.0%} of ignorance's: {lost} stands, so the generator learns little"
    if share < 0.25:
        return f"{asked} Yes, early on and even later: it is {share:.0%} of ignorance's, and the generator still learns"
    if share < 0.9:
        return f"{asked} Yes for a while; here it is {share:.0%} of ignorance's, which is in balance"
    return (
        f"{asked} It is not near 0 but {share:.0%} of ignorance's: either samples are as good as data, or the "
        f"discriminator is too weak. Look at the samples"
    )


def _gap(history: History, bounds: Thresholds) -> Iterator[str]:
    if history.objective != "wasserstein":
        return
    real, fake = (history.typical(name, bounds.window, bounds.lines) for name in (REAL, FAKE))
    if real is not None and fake is not None:
        yield f"the estimate D(x) - D(G(z)) is {real - fake:.3g} lately; watch its course, not its size"


def of_samples(
    probed: Probed | None, goal: int, alarms: Collection[str] = (), bounds: Thresholds = DEFAULT
) -> Iterator[str]:
    """Whether this is collapse, by the newest probe of a training of `goal` steps and the names of the alarms that
    stand."""
    if probed is None or probed.diversity is None or probed.nearest is None or probed.told_apart is None:
        yield "is this collapse? The log does not say: look whether previews repeat themselves, or score recall"
        return
    if COLLAPSE & {*alarms}:
        verdict = "Yes"
    elif bounds.young(probed.step, goal):
        verdict = f"Too early to say before step {bounds.grown(goal):,}"
    elif alike(probed, bounds) or (probed.shown is not None and probed.shown < bounds.classes):
        verdict = "It may be, though no alarm stands: samples may still part, and the next probes tell"
    else:
        verdict = "No"
    yield (
        f"is this collapse? {verdict}: at step {probed.step:,} samples of different latents are {probed.diversity:.2g} "
        f"times as far apart as real rows on average, nearest ones {probed.nearest:.2g} times; of their classes "
        f"{'nothing is known' if probed.shown is None else f'{probed.shown:.0%} are shown'}"
    )
    yield (
        f"in pixels or coordinates, {probed.told_apart:.0%} of samples and real rows lie next to one of their own kind "
        f"(50% where both are alike)"
    )


def of_one_player(history: History, bounds: Thresholds = DEFAULT) -> Iterator[str]:
    """How far the terms of a training without a discriminator have come."""
    names = dict.fromkeys(name for line in history.first for name in line if _is_term(name))
    for name in names:
        start, now = history.beginning(name, 1), history.typical(name, bounds.window, 1)
        if start is not None and now is not None:
            yield f"{name} began at {start:.4g} and is {now:.4g} lately"
    yield from _of_bound({name.rpartition("/")[2] for name in names})


BOUNDS = {"reconstruction": "a bound", "missing": "a bound on what is missing"}
"""Terms that make a negative ELBO with divergences, and what kind of one it is."""
ESTIMATED = ("reconstruction", "ratio", "contrast")


def _of_bound(terms: Collection[str]) -> Iterator[str]:
    """Which terms are the negative ELBO: as it is, where training weighs its divergences."""
    if {*ESTIMATED} <= {*terms}:
        yield _sum_of(ESTIMATED, " as the ratio network estimates it, no bound: it falls and flattens")
        return
    error = next((name for name in BOUNDS if name in terms), None)
    layers = sorted(name for name in terms if name == "kl" or (name.startswith("kl_") and name[3:].isdigit()))
    if error is None or not layers:
        return
    if "kl_plain" in terms:
        yield _sum_of((error, "kl_plain"), f", {BOUNDS[error]}")
        yield f"what is descended has {' and '.join(layers)} in its place: weighted, or held above free bits"
    else:
        yield _sum_of((error, *layers), f", {BOUNDS[error]}: it falls and flattens")
    if len(layers) > 1:
        floored = ", if it is not held above it by free bits," if "kl_plain" in terms else ""
        yield f"a kl_k near 0{floored} means that layer k of the latents is not used"
    else:
        yield f"a {'kl_plain' if 'kl_plain' in terms else 'kl'} near 0 means that the latent is not used"


def _sum_of(names: Sequence[str], words: str) -> str:
    return f"the sum of {' and '.join(names)} is the negative ELBO in nats{words}"


def _is_term(name: str) -> bool:
    return "/" in name and not name.endswith("/gradient") and not name.startswith("score/")
