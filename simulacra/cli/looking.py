"""Commands that show what there is: recipes, and data sets."""

import json
from typing import Annotated, Any

import typer

from simulacra.cli.options import Json, print_table
from simulacra.settings import parse_size

data_app = typer.Typer(help="Look at data sets.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("list")(list_recipes)
    app.command()(show)
    app.command()(doctor)
    app.add_typer(data_app, name="data")


def list_recipes(as_json: Json = False) -> None:
    """What can be trained: every recipe, with the data it is shown on and its paper."""
    from simulacra.recipes import all_recipes

    entries = [recipe.entry() for recipe in all_recipes().values()]
    if as_json:
        print(json.dumps(entries, indent=1))
        return
    shown = ("name", "family", "data", "paper")
    print_table(["recipe", *shown[1:]], [[entry[column] for column in shown] for entry in entries])


def show(
    recipe: Annotated[str, typer.Argument(help="a recipe's name, as `simulacra list` prints it")], as_json: Json = False
) -> None:
    """One recipe: what it is, and every option it takes."""
    from simulacra.recipes import find

    found = find(recipe)
    defaults = found.options()
    options = [
        {"name": name, "default": _plain(_dig(defaults, name)), "about": field.description or ""}
        for name, field in found.options.settings()
    ]
    if as_json:
        print(json.dumps(found.entry() | {"about": found.about, "options": options}, indent=1))
        return
    print(f"{found.name}  ({found.family})\n{found.paper}\n\n    {found.about.strip()}\n")
    print_table(
        ["option", "default", ""],
        [[f"--{o['name'].replace('_', '-')}", json.dumps(o["default"]), o["about"]] for o in options],
    )
    print("The options of every run are under: simulacra train --help")


def doctor(run: Annotated[str, typer.Argument(help="a run's folder, finished or not")], as_json: Json = False) -> None:
    """What is going well and wrong in a training, in words: its alarms, and how to read its numbers."""
    from simulacra.health.doctor import diagnose

    found = diagnose(run)
    if as_json:
        print(json.dumps(found.as_dict(), indent=1))
        return
    print(f"{found.about}\nstep {found.step:,} of {found.goal:,}, {found.state}\n")
    for alarm in found.alarms:
        print(f"alarm at step {alarm.step:,}: {alarm.name}\n  {alarm.evidence}\n  try: {alarm.advice}")
    for alarm in found.over:
        print(f"over, raised at step {alarm.step:,}: {alarm.name}\n  {alarm.evidence}")
    if not found.alarms:
        print("no alarm stands" if found.watched else "no alarm in its terms; its networks were not looked at")
    print("\n" + "\n".join(f"- {line}" for line in found.reading))


def _dig(value: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value if isinstance(value, str | int | float | list) else None


@data_app.command("info")
def data_info(
    word: Annotated[str, typer.Argument(help="digits, mnist, folder:PATH, ... as for `train --data`")],
    split: Annotated[str, typer.Option(help="train, test or all")] = "train",
    size: Annotated[str | None, typer.Option(help="resize images to this, as 64 or 64x48")] = None,
    channels: Annotated[int | None, typer.Option(help="1: as grey, 3: as colour")] = None,
    skip_broken: Annotated[bool, typer.Option(help="leave out files that cannot be read")] = False,
    as_json: Json = False,
) -> None:
    """What a data set holds, and what would be done to it."""
    from simulacra.data import describe, open_data

    source = open_data(word, split=split, size=parse_size(size), channels=channels, skip_broken=skip_broken)  # type: ignore[arg-type]
    facts = describe(source)
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        print(f"{name:12} {json.dumps(value) if isinstance(value, dict | list) else value}")
