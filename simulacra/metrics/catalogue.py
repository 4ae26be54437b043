"""All measures by name, and the choice among them that a list of words makes."""

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from simulacra.config import Config
from simulacra.errors import unknown
from simulacra.metrics.measure import Better, Measure
from simulacra.metrics.of_model import ModelMeasure
from simulacra.protocol import Protocol

Kind = type[Measure] | type[ModelMeasure]

HOMES = {
    "frechet": ("FID", "IntraFID"),
    "kernel": ("KID", "MMDTest"),
    "inception_score": ("InceptionScore",),
    "neighbours": ("Neighbours",),
    "memorisation": ("Memorisation",),
    "modes": ("ModeCoverage",),
    "grammar": ("Grammar",),
    "ndb": ("NDB",),
    "wasserstein": ("SlicedWasserstein", "ExactWasserstein"),
    "class_accuracy": ("ClassAccuracy",),
    "classification": ("ClassificationAccuracy",),
    "parzen": ("Parzen",),
    "likelihood": ("LogLikelihood", "IWAE"),
    "energy": ("AIS", "Chib"),
    "hamiltonian": ("HamiltonianAIS",),
    "amortisation": ("AmortisationGap",),
    "filling": ("Filling",),
    "active_units": ("ActiveUnits",),
    "path_length": ("PathLength",),
}
"""Modules of this package and the measures in them, in the order in which they are listed."""


def measures() -> dict[str, Kind]:
    """Every measure by its name."""
    kinds = [
        getattr(importlib.import_module(f"simulacra.metrics.{home}"), name)
        for home, names in HOMES.items()
        for name in names
    ]
    return {kind.name: kind for kind in kinds}


def kinds_of_scores() -> dict[str, Kind]:
    """The measure of every score, by the score's name."""
    return {score: kind for kind in measures().values() for score in kind.better}


def better() -> dict[str, Better]:
    """Every score by name, and which way it is better."""
    return {score: kind.better[score] for score, kind in kinds_of_scores().items()}


def choose(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The measures that `words` ask for, and which of their scores: a measure's name asks for all of them.

    Raises:
        UserError: a word that is neither a measure nor a score.
    """
    kinds, homes = measures(), {score: kind.name for score, kind in kinds_of_scores().items()}
    chosen: dict[str, list[str]] = {}
    for word in words:
        if word not in kinds and word not in homes:
            raise unknown("measure", word, {*kinds, *homes})
        scores = list(kinds[word].better) if word in kinds else [word]
        held = chosen.setdefault(word if word in kinds else homes[word], [])
        held += [score for score in scores if score not in held]
    return {name: tuple(scores) for name, scores in chosen.items()}


def read_options(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Config]:
    """The options of the measures `names`, from dotted names such as `kid.subsets`.

    Raises:
        UserError: an option that is not one of theirs, or a value that does not fit.
    """
    kinds = measures()
    by_name: dict[str, dict[str, Any]] = {name: {} for name in names}
    known = [f"{name}.{option}" for name in by_name for option, _ in kinds[name].Config.settings()]
    for dotted, value in given.items():
        name, _, option = dotted.partition(".")
        if dotted not in known:
            raise unknown("option", dotted, [*known, *Protocol.model_fields, "real", "fake", "size", "channels"])
        by_name[name][option] = value
    return {name: kinds[name].Config().with_overrides(own, f"measure {name}") for name, own in by_name.items()}
