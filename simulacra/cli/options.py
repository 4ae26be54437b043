"""Options of the command line that are derived from typed settings, and what is printed as tables."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from inspect import Parameter, Signature
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from simulacra.config import Config
from simulacra.errors import UserError

Json = Annotated[bool, typer.Option("--json", help="print one JSON document instead of text")]


OWN_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Settings of a command that also takes options which only the recipe or measure at hand knows."""


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; the first column is never broken."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE)
    for number, title in enumerate(head):
        table.add_column(title, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    Console().print(table)


def with_options(
    kind: type[Config], leave_out: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each setting of `kind`, in the place of its `**` argument."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in Signature.from_callable(command).parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        parameters = [*own, *_parameters(kind, leave_out)]
        command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def _parameters(kind: type[Config], leave_out: Sequence[str]) -> list[Parameter]:
    """One command-line option for each setting, from its type and description."""
    return [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_optional(field.annotation), typer.Option(help=_help(field), show_default=False)],
        )
        for name, field in kind.model_fields.items()
        if name not in leave_out
    ]


def _optional(kind: Any) -> Any:
    """The type a word is parsed to before the settings check it: int, float, bool or str, or nothing given."""
    members = get_args(kind) if get_origin(kind) in (Union, type(int | str)) else (kind,)
    first = next(member for member in members if member is not type(None))
    if get_origin(first) is Annotated:
        first = get_args(first)[0]
    if get_origin(first) is Literal:
        first = type(get_args(first)[0])
    if get_origin(first) is tuple:  # names with commas between them
        first = str
    return first | None


def _help(field: Any) -> str:
    default = field.default
    return field.description if default is None or default is False else f"{field.description} (default: {default})"


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given a value."""
    return {name: value for name, value in options.items() if value is not None}


def pairs(words: Sequence[str], flags: Sequence[str] = ()) -> dict[str, str]:
    """`--name value` and `--name=value` as a mapping. Raises UserError for anything else; `flags` are the command's
    options without a value, one of which may have been meant."""
    found: dict[str, str] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if not word.startswith("--"):
            raise UserError(f"'{word}' is not understood: options look like --name value")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not queue or queue[0].startswith("--"):
                raise _valueless(name, flags)
            value = queue.pop(0)
        found[name.replace("-", "_")] = value
    return found


def _valueless(name: str, flags: Sequence[str]) -> UserError:
    """The error for an option that is followed by no value."""
    near = get_close_matches(name, flags, n=1, cutoff=0.6)
    meant = f"; did you mean --{near[0]}?" if near else ""
    return UserError(f"option --{name} needs a value{meant}")


def flags_of(kind: type[Config]) -> list[str]:
    """The options without a value of a command that takes the settings `kind`."""
    return [n.replace("_", "-") for n, field in kind.model_fields.items() if field.annotation is bool]
