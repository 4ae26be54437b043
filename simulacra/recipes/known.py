"""Options that a recipe does not have, refused with what may have been meant."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from simulacra.errors import UserError
from simulacra.recipes import all_recipes, find


def require_known(recipe: str, names: Iterable[str], beside: Iterable[str]) -> None:
    """Raise UserError where one of `names` is no option of the recipe: it says which recipes have it, or which option,
    of the recipe or of those `beside` it, may have been meant."""
    own = {name for name, _ in find(recipe).options.settings()}
    for name in names:
        if name not in own:
            raise _unknown(name, recipe, own | {*beside})


def _unknown(name: str, recipe: str, known: Iterable[str]) -> UserError:
    """The error for an option that a recipe does not have: what was meant, or which recipes have it."""
    near = [word for word in sorted(known) if word.endswith(f".{name}")]  # `lr`, of some player
    near = [f"'{word}'" for word in near or get_close_matches(name, sorted(known), n=1, cutoff=0.6)]
    others, more = _recipes_with(name, recipe)
    said = f"unknown option '{' '.join(name.split())}': recipe {recipe} has no such option"
    said += f"; {_listed(others, 'and')} {'has' if len(others) == 1 else 'have'} it{more}" if others else ""
    said += f"; did you mean {_listed(near, 'or')}?" if near else ""
    return UserError(f"{said} (see `simulacra show {recipe}`)")


def _listed(words: Sequence[str], last: str) -> str:
    """The words in a sentence, `last` before the last of them."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _recipes_with(name: str, recipe: str) -> tuple[list[str], str]:
    """At most three recipes that have the option, those of the recipe's own family first; whether there are more."""
    recipes = all_recipes()
    found = [other for other, kind in recipes.items() if name in dict(kind.options.settings())]
    nearest = sorted(found, key=lambda other: recipes[other].family != recipes[recipe].family)
    return nearest[:3], ", among others" if len(found) > 3 else ""
