"""Checkpoints: everything a run needs to go on as if it had never stopped, in safetensors and JSON.

A checkpoint is a folder `step-00001234/` of `tensors.safetensors` and `meta.json`, written beside its place, fsynced
and renamed; `meta.json` holds the tensors' hash. So a folder under its final name is whole, unless something damaged
it later, and then the hash tells.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from simulacra.disk import sync_folder, write_durably
from simulacra.distributed import average_buffers
from simulacra.errors import MachineError, UserError
from simulacra.game import Game, Player, Table

FORMAT = 1


class Checkpoint(NamedTuple):
    """A checkpoint read back: its tensors by name and its facts (`step`, `stage`, `attempt`, ...)."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def collect(players: Mapping[str, Player], game: Game, table: Table) -> dict[str, Tensor]:
    """Everything that training has changed, by name, on the CPU. All ranks take part; all get the same."""
    average_buffers(table, [player.module for player in players.values()])
    tensors: dict[str, Tensor] = {}
    for name, player in players.items():
        tensors |= {f"player/{name}/{key}": value for key, value in player.module.state_dict().items()}
        if player.averaged and player.averaged.values:
            tensors |= {f"average/{name}/{i}": value for i, value in enumerate(player.averaged.values)}
            tensors[f"average/{name}/updates"] = torch.tensor(player.averaged.updates)
    for name, optimizer in game.optimizers.items():
        for i, memory in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{name}/{i}/{key}": value for key, value in memory.items() if value is not None}
    for name, value in game.state.items():
        tensors[f"state/{name}"] = table.gather(value) if name in game.per_sample else value
    for move, sums in game.statistics.items():
        joined = {name: value.clone() for name, value in sums.items()}
        table.sum([*joined.values()])
        tensors |= {f"statistics/{move}/{name}": value for name, value in joined.items()}
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def restore(tensors: Mapping[str, Tensor], players: Mapping[str, Player], game: Game, table: Table) -> None:
    """Put what `collect` gathered back in its place."""
    for name, player in players.items():
        player.module.load_state_dict(_under(tensors, f"player/{name}/"))
        values = _under(tensors, f"average/{name}/")
        if player.averaged:
            updates = int(values.pop("updates", 0))
            player.averaged.load([values[str(i)] for i in range(len(values))], updates)
    for name, optimizer in game.optimizers.items():
        _restore_optimizer(optimizer, _under(tensors, f"optimizer/{name}/"))
    for name, value in _under(tensors, "state/").items():
        value = value.to(game.state[name].device)
        game.state[name] = value.tensor_split(table.size)[table.rank] if name in game.per_sample else value
    game.statistics.clear()
    for path, value in _under(tensors, "statistics/").items():
        move, name = path.split("/", 1)
        value = value.to(next(p.device for player in players.values() for p in player.parameters))
        game.statistics.setdefault(move, {})[name] = value if table.rank == 0 else torch.zeros_like(value)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, memory: Mapping[str, Tensor]) -> None:
    """Memory takes its parameter's device and strides: fused kernels walk both side by side."""
    optimizer.state.clear()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    fused = bool(optimizer.param_groups[0].get("fused"))  # fused kernels count steps on the device
    for path, value in memory.items():
        index, key = path.split("/")
        parameter = parameters[int(index)]
        alike = value.shape == parameter.shape and value.dim() > 0
        kept = torch.empty_like(parameter.data, dtype=value.dtype).copy_(value) if alike else value.clone()
        kept = kept.to(parameter.device) if fused else kept
        optimizer.state[parameter][key] = kept


def write(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int) -> Path:
    """Write `folder/step-…`, durable before it gets its name, then drop all but the newest `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    beside, place = folder / f".step-{step:08d}.partial", folder / f"step-{step:08d}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    content = save(dict(tensors))
    facts = {"format": FORMAT, "step": step, **facts}
    facts["sha256"] = _hash(content, facts)
    write_durably(beside / "tensors.safetensors", content)
    write_durably(beside / "meta.json", json.dumps(facts, indent=1).encode())
    shutil.rmtree(place, ignore_errors=True)
    beside.rename(place)
    sync_folder(folder)
    for old in listed(folder)[:-keep]:
        shutil.rmtree(old)
    return place


def listed(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    found = folder.iterdir() if folder.is_dir() else []
    return sorted((path for path in found if re.fullmatch(r"step-\d{8,}", path.name)), key=step_of)


def step_of(path: Path) -> int:
    """The step of a checkpoint, by its name."""
    return int(path.name.removeprefix("step-"))


def _hash(content: bytes, facts: Mapping[str, Any]) -> str:
    """Of the tensors and the facts together."""
    return hashlib.sha256(content + json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read(path: Path) -> Checkpoint:
    """Read one checkpoint whole. Raises MachineError where it is damaged, UserError where it is of a newer format."""
    try:
        facts = json.loads((path / "meta.json").read_text())
        content = (path / "tensors.safetensors").read_bytes()
        if facts["format"] > FORMAT:
            raise UserError(
                f"checkpoint {path} has format {facts['format']}, newer than this version's {FORMAT}: upgrade"
            )
        if facts.pop("sha256") != _hash(content, facts):
            raise MachineError(f"checkpoint {path} is damaged: its contents do not match their hash")
        return Checkpoint(load(content), facts)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise MachineError(f"checkpoint {path} is damaged: {error}") from None


def newest(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole; those that are not are told of and passed over.

    Raises MachineError where there are checkpoints and none of them is whole."""
    paths = listed(folder)
    for path in reversed(paths):
        try:
            return read(path)
        except MachineError as error:
            say(f"{error}; using the one before" if path != paths[0] else str(error))
    if paths:
        raise MachineError(f"no checkpoint in {folder} is whole: start again in another folder")
    return None


def drop_after(folder: Path, step: int) -> None:
    """Remove checkpoints past `step`: damaged ones that were passed over."""
    for path in listed(folder):
        if step_of(path) > step:
            shutil.rmtree(path)
