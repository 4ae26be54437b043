"""The command line. Everything heavy is imported inside the commands, so that help comes at once."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from simulacra import __version__
from simulacra.errors import MachineError, UserError, unknown
from simulacra.settings import RunOptions, parse_size

app = typer.Typer(
    name="simulacra",
    help="Deep generative models: train, resume, sample, judge and share, one way for all of them.",
    epilog="Begin with: simulacra train dcgan --data digits --out runs/digits",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Look at data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="print one JSON document instead of text")]


def main() -> None:
    """Run the command line. The user's mistakes end in one line and exit 2, the machine's in one line and exit 1."""
    try:
        code = app(standalone_mode=False)
    except (UserError, MachineError) as error:
        _fail(str(error), 2 if isinstance(error, UserError) else 1)
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except Exception as error:
        if _memory_ran_out(error):
            _fail("out of memory: ask for less at a time, or for something smaller", 1)
        _fail(_usage(error), 2)
    else:
        sys.exit(code or 0)


def _usage(error: Exception) -> str:
    """What click says of a command line it cannot parse, in one line. Anything else is a bug of ours."""
    said: Callable[[], str] | None = getattr(error, "format_message", None)  # click's, wherever typer keeps its click
    if said is None:
        raise error
    return " ".join(said().split()) + " (see --help)"


def _memory_ran_out(error: Exception) -> bool:
    """Whether it did, without importing torch to find out."""
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from simulacra.memory import is_out_of_memory

    return is_out_of_memory(error)


def _fail(line: str, code: int) -> None:
    print(f"simulacra: {line}", file=sys.stderr)
    sys.stdout.flush()
    sys.exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"simulacra {__version__}")
        raise typer.Exit


@app.callback()
def simulacra(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Deep generative models: train, resume, sample, judge and share, one way for all of them."""


@app.command("list")
def list_recipes(as_json: Json = False) -> None:
    """What can be trained: every recipe, with the data it is shown on and its paper."""
    from simulacra.recipes import all_recipes

    entries = [recipe.entry() for recipe in all_recipes().values()]
    if as_json:
        print(json.dumps(entries, indent=1))
        return
    _table(["recipe", "family", "rows", "data", "paper"], [[*map(_word, entry.values())] for entry in entries])


def _word(value: Any) -> str:
    return " ".join(value) if isinstance(value, list | tuple) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE)
    for number, title in enumerate(head):
        table.add_column(title, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    Console().print(table)


@app.command()
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
    print(f"{found.name}  ({found.family}; rows {', '.join(found.rows)})\n{found.paper}\n\n    {found.about.strip()}\n")
    _table(["option", "default", ""], [[f"--{o['name']}", json.dumps(o["default"]), o["about"]] for o in options])
    print("The options of every run are under: simulacra train --help")


def _dig(value: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value if isinstance(value, str | int | float | list) else None


def _run_parameters() -> list[Parameter]:
    """One command-line option for each run option, from its type and description."""
    return [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_optional(field.annotation), typer.Option(help=_help(field), show_default=False)],
        )
        for name, field in RunOptions.model_fields.items()
    ]


def _optional(kind: Any) -> Any:
    """The type a word is parsed to before the settings check it: int, float, bool or str, or nothing given."""
    members = get_args(kind) if get_origin(kind) in (Union, type(int | str)) else (kind,)
    first = next(member for member in members if member is not type(None))
    if get_origin(first) is Literal:
        first = type(get_args(first)[0])
    return first | None


def _help(field: Any) -> str:
    default = field.default
    return field.description if default is None or default is False else f"{field.description} (default: {default})"


def _with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the options of every run in the place of its `**run`."""
    own = [p for p in Signature.from_callable(command).parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    parameters = [*own, *_run_parameters()]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@_with_run_options
def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="what to train: see `simulacra list`")],
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist, ..., folder:PATH, zip:PATH, npz:PATH, hf:OWNER/NAME, ring, grid (default: recipe's)"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder of the run (default: runs/RECIPE-DATA); an old one is continued")
    ] = None,
    origin: Annotated[str | None, typer.Option("--from", help="run or artifact to take matching weights from")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved recipe and stop")] = False,
    as_json: Json = False,
    **run: Any,
) -> None:
    """Train a recipe, or go on with a run: the same command on the same folder continues where it stopped.

    Every recipe has options of its own besides, such as --width 32 or --generator.lr 1e-4: see `simulacra show RECIPE`.
    """
    own = _pairs(context.args)
    out = out or Path("runs") / f"{recipe}-{_slug(data or _default_data(recipe))}"
    from simulacra.session import settle

    session = settle(recipe, out=out, data=data, origin=origin, run=_given(run), recipe=own)
    if dry_run:
        print(json.dumps(session.record, indent=1))
        return
    from simulacra.trainer import play

    result = play(session)
    if as_json and int(os.environ.get("RANK", "0")) == 0:
        facts = {"run": str(result.folder), "step": result.step, "seconds": result.seconds, "terms": dict(result.terms)}
        print(json.dumps(facts | {"interrupted": result.interrupted}))
    if result.interrupted:
        raise typer.Exit(128 + result.interrupted)


def _default_data(recipe: str) -> str:
    from simulacra.recipes import find

    return find(recipe).data


def _slug(word: str) -> str:
    """A data word as part of a folder's name."""
    return Path(word.partition(":")[2] or word).stem


def _given(run: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run.items() if value is not None}


def _pairs(words: Sequence[str]) -> dict[str, str]:
    """`--name value` and `--name=value` as a mapping. Raises UserError for anything else."""
    pairs: dict[str, str] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if not word.startswith("--"):
            raise UserError(f"'{word}' is not understood: options look like --name value")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not queue or queue[0].startswith("--"):
                raise unknown_or_valueless(name)
            value = queue.pop(0)
        pairs[name.replace("-", "_")] = value
    return pairs


def unknown_or_valueless(name: str) -> UserError:
    """The error for an option that is followed by no value."""
    flags = [n for n, field in RunOptions.model_fields.items() if field.annotation is bool]
    near = unknown("option", name, [*flags, "dry-run", "json"])
    return UserError(f"option --{name} needs a value ({near})")


@app.command()
def sample(
    run: Annotated[str, typer.Argument(help="a run, an artifact, or a hub id OWNER/NAME")],
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="how many")] = 64,
    seed: Annotated[int, typer.Option(min=0, max=2**62 - 1, help="which samples: equal seeds give equal ones")] = 0,
    out: Annotated[str, typer.Option(help="X.png: a grid; X/: a folder of PNGs; X.npz: arrays")] = "samples.png",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
) -> None:
    """Draw samples from a trained model. Needs neither the data nor the options it was trained with."""
    from simulacra import images
    from simulacra.artifact import load
    from simulacra.capabilities import Samples, verbs
    from simulacra.precision import choose_device

    model = load(run, device=choose_device(device))
    if not isinstance(model, Samples):
        raise UserError(f"{run} is a {model.name}, which cannot sample: it can {', '.join(verbs(model))}")
    images.write(model.sample(n, seed=seed).cpu(), out, model.spec)
    print(f"{n} samples in {out}")


@data_app.command("info")
def data_info(
    word: Annotated[str, typer.Argument(help="digits, mnist, folder:PATH, ... as for `train --data`")],
    split: Annotated[str, typer.Option(help="train or test")] = "train",
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


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def benchmark(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="what to time: see `simulacra list`")] = "dcgan",
    data: Annotated[str, typer.Option(help="as for `train`")] = "digits",
    steps: Annotated[int, typer.Option(min=1, help="steps timed in each setting")] = 30,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
    as_json: Json = False,
) -> None:
    """Time a recipe's training step on this machine, in each precision."""
    from simulacra.benchmark import measure

    rows = measure(recipe, data, _pairs(context.args), steps, device)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    _table(["precision", "ms per step", "images per second"], [[str(v) for v in row.values()] for row in rows])


@app.command()
def share(
    run: Annotated[str, typer.Argument(help="a run or an artifact")],
    hub_id: Annotated[str, typer.Argument(help="OWNER/NAME on the Hugging Face hub")],
    private: Annotated[bool, typer.Option(help="only you can see it")] = False,
) -> None:
    """Push a model to the Hugging Face hub, from where `simulacra sample OWNER/NAME` takes it."""
    from simulacra.artifact import push_to_hub

    print(push_to_hub(run, hub_id, private=private))
