"""Training from outside: `simulacra.train`, and what surrounds a run: ranks, signals, switches, a machine's errors."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from simulacra.distributed import process_group
from simulacra.errors import MachineError
from simulacra.interruption import watched
from simulacra.memory import is_out_of_memory
from simulacra.session import Session, settle
from simulacra.settings import RunOptions
from simulacra.trainer import Run, Trainer


def train(
    recipe: str, *, out: str | Path, data: str | None = None, origin: str | Path | None = None, **options: Any
) -> Run:
    """Train `recipe` on `data` in the folder `out`, or go on where that folder stopped.

    `options` are those of a run (`settings.RunOptions`: steps, seed, device, ...) and of the recipe, nested ones with a
    double underscore for the dot (`optimizer__lr=1e-3`). `origin`: a run or artifact to start the players from.

    Raises UserError for mistakes in what is asked for, MachineError where the machine or the training itself failed;
    the last checkpoint is whole then.
    """
    run = {name: value for name, value in options.items() if name in RunOptions.model_fields}
    own = {name.replace("__", "."): value for name, value in options.items() if name not in run}
    return play(settle(recipe, out=out, data=data, origin=origin, run=run, recipe=own))


def play(session: Session) -> Run:
    """Train as `session` says. Raises as `train` does."""
    with (
        process_group(session.device),
        watched() as interruption,
        _machine_errors(session),
        _torch_settings(session.options.deterministic),
    ):
        trainer = Trainer(session, interruption)
        try:
            return trainer.run()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        raise MachineError(f"out of memory at batch {session.plan.batch}: {trainer.what_fits()}")


@contextmanager
def _torch_settings(deterministic: bool) -> Iterator[None]:
    """Inside, deterministic kernels if so; afterwards torch's random state and switches are as they were."""
    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.use_deterministic_algorithms(deterministic or before)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


@contextmanager
def _machine_errors(session: Session) -> Iterator[None]:
    """Say what the machine lacked, in one line."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        way_out = "free some space" if error.errno == errno.ENOSPC else "check the disk and its permissions"
        raise MachineError(
            f"{reason}, at {error.filename or session.folder.path}: {way_out} and give the same command "
            f"again, it goes on from the last checkpoint"
        ) from None
