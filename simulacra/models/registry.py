"""Model classes by name: those of this package, and those that installed packages offer.

A file names a model; it never says where code lies. Another package offers its models in the entry-point group
`simulacra.models`, each under the model's own name.
"""

import importlib
import pkgutil
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import TypeVar

from simulacra import __version__, models
from simulacra.errors import UserError, unknown
from simulacra.models.base import Model

PACKAGE = "simulacra"
GROUP = "simulacra.models"
T = TypeVar("T")
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


@cache
def own_models() -> Mapping[str, type[Model]]:
    """The models of this package by name: every subclass of `Model`, in a module of `simulacra.models`, that has a
    name of its own."""
    modules = [importlib.import_module(f"{models.__name__}.{found.name}") for found in _modules()]
    return {kind.name: kind for module in modules for kind in vars(module).values() if _is_model(kind, module.__name__)}


def _modules() -> list[pkgutil.ModuleInfo]:
    return [found for found in pkgutil.iter_modules(models.__path__) if found.name != "registry"]


def _is_model(value: object, module: str) -> bool:
    return isinstance(value, type) and issubclass(value, Model) and value.__module__ == module and "name" in vars(value)


def model_class(name: str, package: str = PACKAGE) -> type[Model]:
    """The model `name` of the installed distribution `package`.

    Raises:
        UserError: no such model (the nearest name is suggested), or `package` is not installed or cannot be imported.
    """
    if package == PACKAGE:
        return _named(name, own_models())
    if not _PACKAGE_NAME.fullmatch(package):
        raise UserError(f"{package[:50]!r} is no name of a package")
    offered = {entry.name: entry for entry in _entries() if _normal(_distribution(entry)) == _normal(package)}
    if not offered and package_version(package) is None:
        raise UserError(
            f"model {name!r} comes with package {package!r}, which is not installed: install it if you trust it"
        )
    if not offered:
        raise UserError(f"package {package!r} offers no models to simulacra: upgrade it, or simulacra")
    return _imported(_named(name, offered), package)


def _named(name: str, known: Mapping[str, T]) -> T:
    if name not in known:
        raise unknown("model", name, known)
    return known[name]


def _imported(entry: EntryPoint, package: str) -> type[Model]:
    try:
        kind = entry.load()
    except Exception as error:  # whatever the other package's code raises
        raise UserError(f"model '{entry.name}' of package {package!r} cannot be imported: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Model)):
        raise UserError(f"model '{entry.name}' of package {package!r} is not a simulacra model")
    return kind


def provider(kind: type[Model]) -> str:
    """The distribution that offers the model class `kind`; the module it lies in where none does."""
    if kind.__module__.startswith(f"{models.__name__}."):
        return PACKAGE
    places = {entry.value: entry for entry in _entries()}
    entry = places.get(f"{kind.__module__}:{kind.__qualname__}")
    return _distribution(entry) if entry else kind.__module__.partition(".")[0]


def package_version(package: str) -> str | None:
    """The installed version of a distribution, None where it is not installed."""
    if package == PACKAGE:
        return __version__
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _entries() -> list[EntryPoint]:
    return list(entry_points(group=GROUP))


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else ""


def _normal(package: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()
