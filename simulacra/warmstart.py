"""Warm starts: the players of a new training begin with the weights of a run or an artifact, as far as they match."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from simulacra import artifact, checkpoint
from simulacra.errors import UserError
from simulacra.game import Player

Tensors = dict[str, Tensor]


def warm_start(players: Mapping[str, Player], where: str | Path, model: nn.Module | None = None) -> list[str]:
    """Load into each player the tensors that `where` has for it: same player, same key, same shape.

    A run folder gives the weights of its newest checkpoint as they were trained; an artifact those it stores, which are
    the averages where there were any. Of an artifact's model each player gets what it has of the `model` here; where
    that is nothing, all belongs to the player whose module has its keys, or, part by part, to players named like parts
    of the model. `training.safetensors` has the others by name.

    Args:
        players: the players to start, by name.
        where: a run folder, an artifact's folder, or a hub id.
        model: what is to remain of the players.

    Returns:
        What matched and what did not, in lines to print.

    Raises:
        UserError: there is nothing at `where`, or nothing of it matches.
        MachineError: there are checkpoints, but none is whole.
    """
    lines: list[str] = []
    sources = _from_run(Path(where).expanduser(), lines) or _from_artifact(where, players, model)
    taken = 0
    for name, player in players.items():
        taken += _take(name, player, sources.get(name, {}), lines)
    lines += [f"{name}: no such player here, left out" for name in sources if name not in players]
    if not taken:
        differing = [line for name, player in players.items() for line in _differences(player, sources.get(name, {}))]
        shapes = next((f": {line}" for line in differing if " there" in line), "")
        raise UserError(
            f"nothing in '{where}' matches: it has {_shown(sources)}, this recipe has {_shown(players)}{shapes}"
        )
    return lines


def _from_run(folder: Path, lines: list[str]) -> dict[str, Tensors]:
    """Each player's tensors in the newest checkpoint of a run; nothing where there is no checkpoint."""
    found = checkpoint.newest(folder / "checkpoints", lines.append)
    return _by_player(found.tensors, "player/") if found else {}


def _from_artifact(where: str | Path, players: Mapping[str, Player], own: nn.Module | None) -> dict[str, Tensors]:
    model, others = artifact.stored(where)
    sources = _by_player(others)
    rest = {name: player for name, player in players.items() if name not in sources}
    return sources | ((own and _shared(model, rest, own)) or _owners(model, rest))


def _shared(model: Tensors, players: Mapping[str, Player], own: nn.Module) -> dict[str, Tensors]:
    """A stored model's tensors by player, whose module shares tensors with the model that is here."""
    keys = {id(tensor): key for key, tensor in own.state_dict(keep_vars=True).items()}
    parts = {
        name: {
            key: model[keys[id(tensor)]]
            for key, tensor in player.module.state_dict(keep_vars=True).items()
            if keys.get(id(tensor)) in model
        }
        for name, player in players.items()
    }
    return {name: part for name, part in parts.items() if part}


def _owners(model: Tensors, players: Mapping[str, Player]) -> dict[str, Tensors]:
    """A model's tensors by player: all to the one whose module has most of them, else each part to its namesake."""
    counts = {name: len(_matching(player, model)) for name, player in players.items()}
    owner = max(counts, key=counts.__getitem__, default=None)
    if owner and counts[owner]:
        return {owner: model}
    parts = {name: _under(model, f"{name}.") for name in players}
    return {name: part for name, part in parts.items() if part} or {"model": model}


def _by_player(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensors]:
    """Tensors named `prefix PLAYER / KEY` as player → key → tensor."""
    sources: dict[str, Tensors] = {}
    for path, tensor in _under(tensors, prefix).items():
        player, _, key = path.partition("/")
        sources.setdefault(player, {})[key] = tensor
    return sources


def _under(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _take(name: str, player: Player, source: Tensors, lines: list[str]) -> int:
    """Load what matches, tell of it and of what does not; the number of tensors loaded."""
    if not source:
        lines.append(f"{name}: not found, starts anew")
        return 0
    matching = _matching(player, source)
    player.module.load_state_dict(matching, strict=False)
    lines.append(f"{name}: {len(matching)} of {len(player.module.state_dict())} tensors loaded")
    lines += [f"{name}: {difference}" for difference in _differences(player, source)]
    return len(matching)


def _matching(player: Player, source: Tensors) -> Tensors:
    own = player.module.state_dict()
    return {key: tensor for key, tensor in source.items() if key in own and own[key].shape == tensor.shape}


def _differences(player: Player, source: Tensors) -> Iterator[str]:
    own = player.module.state_dict()
    for key, tensor in own.items():
        if key not in source:
            yield f"'{key}' {list(tensor.shape)} not found, starts anew"
        elif source[key].shape != tensor.shape:
            yield f"'{key}' is {list(tensor.shape)} here but {list(source[key].shape)} there, starts anew"
    for key, tensor in source.items():
        if key not in own:
            yield f"'{key}' {list(tensor.shape)} left out: no such tensor here"


def _shown(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "nothing"
