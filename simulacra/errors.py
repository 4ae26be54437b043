"""What can go wrong, by whose hand: the user's (exit 2) or the machine's (exit 1). Anything else is a bug of ours."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake of the user's: one clear line that names the thing and the way out. The command line exits with 2."""


class EmptySplit(UserError):
    """A split of a data set that holds no rows."""


class MachineError(Exception):
    """The machine failed (disk full, read-only, out of memory): the last checkpoint is intact. Exits with 1."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not known, with the nearest known one suggested."""
    known = sorted(known)
    name = " ".join(name.split())
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
    return UserError(f"unknown {kind} '{name}': {hint}")
