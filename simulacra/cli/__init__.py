"""The command line: one program, whose commands lie in the modules beside. Everything heavy is imported inside the
commands, so that help comes at once."""

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from simulacra import __version__
from simulacra.cli import exploring, judging, looking, training
from simulacra.errors import MachineError, UserError

app = typer.Typer(
    name="simulacra",
    help="Deep generative models: train, resume, sample, judge and share, one way for all of them.",
    epilog="Begin with: simulacra train dcgan --data digits --out runs/digits",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        _leave(code or 0)


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
    _leave(code)


def _leave(code: int) -> None:
    """Exit. Under torchrun without Python's farewell, in which torch aborts every now and then after a backward pass
    beside gloo's threads ("terminate called without an active exception"): a finished run would count as failed."""
    sys.stdout.flush()
    sys.stderr.flush()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        os._exit(code)
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


for _family in (looking, training, judging, exploring):
    _family.add_to(app)
