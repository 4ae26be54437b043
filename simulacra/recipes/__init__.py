"""Recipes: one function per row of the course, which turns a data spec and options into something to train.

A recipe is found because its module lies here, or because an installed package lists it in the entry-point group
`simulacra.recipes`.
"""

import importlib
import logging
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from torch import Tensor

from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError, unknown
from simulacra.game import Player, Stage, split
from simulacra.models.base import Model

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a recipe returns: the model that will remain, the stages that train it, and the batch they are played on.

    The lengths of the stages are the default budget. `options` are the recipe's, with nothing left open. `prepare` is
    called before the first step of a new run with rows of the training data `[N, ...]`, as a batch has them: for first
    values that depend on the data. What is played at once, be it a batch or a part of one, must fill packs of `pack`
    rows, and have `least`.
    """

    model: Model
    stages: Sequence[Stage]
    batch: int
    options: Config
    prepare: Callable[[Tensor], None] | None = None
    pack: int = 1
    least: int = 0

    def __post_init__(self) -> None:
        for stage in self.stages:
            for name, player in stage.game.players.items():
                if self.players[name] is not player:
                    raise ValueError(f"two players are called '{name}': stages share a player by sharing the object")

    @property
    def steps(self) -> int:
        """The default budget in steps."""
        return sum(stage.steps for stage in self.stages)

    @property
    def players(self) -> dict[str, Player]:
        """All players of all stages, by name."""
        return {name: player for stage in self.stages for name, player in stage.game.players.items()}

    def begun(self) -> "Plan":
        """The same for players that a warm start has put where they begin."""
        return replace(self, stages=[stage for stage in self.stages if not stage.begins])

    def splits(self, rows: int, parts: int) -> bool:
        """Whether so many rows can be played in so many micro-batches."""
        return all(size % self.pack == 0 and size >= self.least for size in split(rows, parts))

    def check_parts(self, ranks: int, micro_batches: int) -> None:
        """Raise UserError where a batch cannot be dealt to so many processes and micro-batches: means over ranks are
        means over rows only where every rank has as many, and no part may split a pack."""
        batch = self.batch
        if batch % ranks and any(stage.game.optimizers for stage in self.stages):
            even = max(batch // ranks, 1) * ranks
            raise UserError(f"a batch of {batch} cannot be dealt evenly to {ranks} processes: give --batch {even}")
        if not self.splits(batch // ranks, micro_batches):
            sizes = sorted(set(split(batch // ranks, micro_batches)))
            wanted = f"packs of {self.pack} and " if self.pack > 1 else ""
            raise UserError(
                f"a batch of {batch} in {ranks} processes and {micro_batches} micro-batches has "
                f"{' or '.join(map(str, sizes))} rows at a time, the game wants {wanted}at least {self.least}: "
                f"choose another --batch or --micro-batches"
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe and what `simulacra list` says of it. `rows` are ids of the table of systems; `size` is the number of
    training rows, from which the default budget follows. `beside`: what comes beside each batch: a second data set
    (`data`), or the few rows whose labels may be seen (`labelled`). `ignorance`: in a game that has no option
    `objective`, what its discriminators pay where they tell nothing apart, if 0 is their bound."""

    name: str
    family: str
    rows: tuple[str, ...]
    data: str
    paper: str
    options: type[Config]
    build: Callable[[Spec, int, Any], Plan]
    beside: Literal["data", "labelled"] | None = None
    ignorance: float | None = None

    @property
    def about(self) -> str:
        """The recipe's header."""
        return self.build.__doc__ or ""

    def entry(self) -> dict[str, Any]:
        """What `simulacra list --json` prints."""
        return {name: getattr(self, name) for name in ("name", "family", "rows", "data", "paper")}


def budget(passes: int, size: int, batch: int, within: tuple[int, int]) -> int:
    """The steps of `passes` over `size` rows in batches of `batch`, no fewer and no more than `within`."""
    least, most = within
    return min(max(passes * size // batch, least), most)


def recipe(
    name: str,
    *,
    family: str,
    rows: Sequence[str],
    data: str,
    paper: str,
    options: type[Config],
    beside: Literal["data", "labelled"] | None = None,
    ignorance: float | None = None,
) -> Callable[[Callable[[Spec, int, Any], Plan]], Recipe]:
    """Make a `Recipe` of the function `build(spec, size, options) -> Plan`; its docstring is the header."""

    def register(build: Callable[[Spec, int, Any], Plan]) -> Recipe:
        said = {"name": name, "family": family, "rows": tuple(rows), "data": data, "paper": paper}
        return Recipe(**said, options=options, build=build, beside=beside, ignorance=ignorance)

    return register


def all_recipes() -> Mapping[str, Recipe]:
    """Every recipe of this package and of those installed beside it, by name."""
    own = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found = [value for module in own for value in vars(module).values() if isinstance(value, Recipe)]
    found = [*(recipe for entry in entry_points(group="simulacra.recipes") for recipe in _loaded(entry)), *found]
    return dict(sorted({one.name: one for one in found}.items(), key=lambda item: (item[1].family, item[0])))


def _loaded(entry: EntryPoint) -> list[Recipe]:
    """The recipe of another package, or none where the package is broken: that must not stop the others."""
    try:
        return [entry.load()]
    except Exception as error:
        log.warning("recipe '%s' of another package cannot be imported: %s", entry.name, error)
        return []


def find(name: str) -> Recipe:
    """The recipe `name`. Raises UserError, with the nearest name, where there is none."""
    recipes = all_recipes()
    if name not in recipes:
        raise unknown("recipe", name, recipes)
    return recipes[name]
