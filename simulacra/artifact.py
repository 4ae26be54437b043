"""Artifacts: what remains of a training, a folder that is saved, loaded and shared without recipe, flags or data.

`config.json` says which model this is, `model.safetensors` holds its weights, `README.md` is its model card,
`samples.png` shows what it draws. `training.safetensors`, where asked for, holds the other players for fine-tuning.
Loading executes nothing that lies in a folder: it is JSON and tensors, checked before they are believed.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors
from torch import Tensor, nn

from simulacra import images
from simulacra.card import card, with_scores
from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.disk import replace, sync_folder, write_durably
from simulacra.errors import MachineError, UserError
from simulacra.models.base import Model
from simulacra.models.registry import model_class, package_version, provider

CONFIG, WEIGHTS, TRAINING = "config.json", "model.safetensors", "training.safetensors"
CARD, SAMPLES = "README.md", "samples.png"
FILES: tuple[str, ...] = (CONFIG, WEIGHTS, TRAINING, CARD, SAMPLES)

FORMAT = 1
Fields = dict[str, Any]
Tensors = dict[str, Tensor]
Migration = Callable[[Fields, Tensors], tuple[Fields, Tensors]]
MIGRATIONS: tuple[Migration, ...] = ()
"""Item k turns the `config.json` and the tensors of format k + 1 into those of format k + 2: one per format but the
newest."""

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


class Record(Config):
    """What `config.json` holds."""

    format: int = Field(ge=1, strict=True, description="version of the artifact's format")
    package: str = Field(description="the distribution that provides the model")
    version: str = Field(description="its version")
    model: str = Field(description="the model's name")
    config: Fields = Field(description="the model's settings")
    data: Fields = Field(description="the data spec")
    weights: str = Field(description="which weights these are, in words")


# Saving


def save(
    model: Model,
    folder: str | Path,
    *,
    facts: Mapping[str, Any],
    training: Mapping[str, nn.Module] | None = None,
    samples: Tensor | None = None,
) -> Path:
    """Write the artifact of `model`, its weights as they are now, in place of the one that `folder` may hold.

    It is written beside its place, made durable and then swapped in: whenever that is interrupted, `load(folder)`
    finds the former artifact or the new one whole. Other files in an artifact's folder stay. Equal weights give equal
    bytes in `model.safetensors`.

    Args:
        model: what to save; left as it is.
        folder: where to; new, empty, or an artifact.
        facts: what is known of the model, all of it optional. `weights`: which weights these are (averaged? batch
            norm's statistics re-estimated?), also kept in `config.json`; for the card: `recipe`, `paper`, `data` (the
            data word), `summary` (of the data), `steps`, `seed`, `command`, `license` (an SPDX id), `scores` (by
            measure: a number, or a mapping of `value`, `standard_error` and how it was measured).
        training: the other players' modules by name, for fine-tuning.
        samples: what to show on the card: images `[N, C, H, W]` in [−1, 1] or vectors `[N, 2]`.

    Returns:
        The folder, as an absolute path.

    Raises:
        UserError: `folder` holds something else than an artifact.
        MachineError: the disk is full or cannot be written to; a former artifact is intact.
    """
    place = _absolute(folder)
    try:
        _replace(place, _contents(model, facts, training, samples))
    except OSError as error:
        raise MachineError(f"cannot write the artifact {place}: {error.strerror or error}") from error
    return place


def _contents(
    model: Model, facts: Mapping[str, Any], training: Mapping[str, nn.Module] | None, samples: Tensor | None
) -> dict[str, bytes]:
    """The files of an artifact by name."""
    shown = None if samples is None or not len(samples) or not images.drawable(model.spec) else samples
    files = {
        CONFIG: json.dumps(_record(model, facts).model_dump(), indent=2).encode() + b"\n",
        WEIGHTS: _packed(model.state_dict()),
        CARD: card(model, facts, pictured=shown is not None, training=bool(training)).encode(errors="replace"),
    }
    if training:
        modules = training.items()
        files[TRAINING] = _packed({f"{name}/{key}": t for name, m in modules for key, t in m.state_dict().items()})
    if shown is not None:
        files[SAMPLES] = images.png(shown, model.spec)
    return files


def _record(model: Model, facts: Mapping[str, Any]) -> Record:
    package = provider(type(model))
    return Record(
        format=FORMAT,
        package=package,
        version=package_version(package) or "unknown",
        model=model.name,
        config=model.config.model_dump(mode="json"),
        data=model.spec.as_dict(),
        weights=str(facts.get("weights", "as they are")),
    )


def _packed(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as a safetensors file: contiguous, none sharing memory, so that equal values give equal bytes."""
    own = {key: t.detach().cpu().clone(memory_format=torch.contiguous_format) for key, t in tensors.items()}
    return safetensors(own)


def _replace(place: Path, contents: Mapping[str, bytes]) -> None:
    """Put `contents` in `place`, durable before they get there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    _settle(place)
    _check_replaceable(place)
    beside = place.parent / f".{place.name}.partial"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir()
        for name, content in contents.items():
            write_durably(beside / name, content)
        sync_folder(beside)
        if place.exists():
            place.rename(_former(place))
        beside.rename(place)
        sync_folder(place.parent)
        _settle(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _settle(place: Path) -> None:
    """Finish what an interrupted save left: bring the former artifact back, or clear it away and keep what is not
    an artifact's of the files in it."""
    former = _former(place)
    if not former.exists():
        return
    if not place.exists():
        former.rename(place)
        return
    for path in former.iterdir():
        if path.name not in FILES and not (place / path.name).exists():
            path.rename(place / path.name)
    shutil.rmtree(former)


def _former(place: Path) -> Path:
    """Where the artifact in `place` is while its successor takes its place."""
    return place.parent / f".{place.name}.former"


def _check_replaceable(place: Path) -> None:
    if place.is_file():
        raise UserError(f"cannot save to {place}: it is a file")
    if place.exists() and any(place.iterdir()) and not (place / CONFIG).exists():
        raise UserError(f"cannot save to {place}: it holds other things than an artifact; choose another folder")


def list_scores(folder: Path, scores: Mapping[str, Any]) -> None:
    """List `scores` (as `save` takes them) on the card of the artifact in `folder`, in place of those it lists.

    Raises:
        MachineError: the card cannot be written.
    """
    path = folder / CARD
    try:
        text = path.read_text("utf-8", errors="replace") if path.exists() else ""
        replace(path, with_scores(text, scores).encode(errors="replace"))
    except OSError as error:
        raise MachineError(f"cannot write {path}: {error.strerror or error}") from error


# Loading


def load(where: str | Path, *, device: str | torch.device = "cpu", revision: str | None = None) -> Model:
    """The model of an artifact, in eval mode.

    Args:
        where: an artifact's folder, a run folder, or the id `owner/name` of a repository on the Hugging Face hub
            (a text that is also a path on this machine means the path).
        device: where its weights go.
        revision: branch, tag or commit on the hub.

    Raises:
        UserError: there is no such artifact; or it is of a newer format, of an unknown model, or damaged: a key, type,
            tensor or shape that is not as it should be is named.
    """
    folder = locate(where, revision)
    with _naming(folder):
        model = _model(*_read(folder))
    return _moved(model.eval(), device)


def stored(where: str | Path) -> tuple[Tensors, Tensors]:
    """The tensors of an artifact as they are, on the CPU: its model's by key, and those of the other players of its
    training, where they were kept, by `player/key`.

    Raises:
        UserError: there is no such artifact, or a file of it is damaged.
    """
    folder = locate(where)
    with _naming(folder):
        _, tensors = _read(folder)
        return tensors, _tensors(folder / TRAINING) if (folder / TRAINING).exists() else {}


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Inside, errors say which artifact they are about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"artifact {folder}: {error}") from error
    except OSError as error:
        raise MachineError(f"cannot read the artifact {folder}: {error.strerror or error}") from error


def _read(folder: Path) -> tuple[Fields, Tensors]:
    """`config.json` and the model's tensors, in today's format."""
    fields, tensors = _fields(folder / CONFIG), _tensors(folder / WEIGHTS)
    for migrate in MIGRATIONS[fields["format"] - 1 :]:
        fields, tensors = migrate(fields, tensors)
    return fields, tensors


def _model(fields: Fields, tensors: Tensors) -> Model:
    record = _checked(fields)
    kind = model_class(record.model, record.package)
    config = kind.Config.read(record.config, f"model '{kind.name}'")
    spec = Spec.from_dict(record.data)
    _compare(_expected(kind, config, spec), tensors)
    model = _built(kind, config, spec)
    model.load_state_dict(tensors)
    return model


def _fields(path: Path) -> Fields:
    """`config.json` as JSON, of a format that this version knows."""
    try:
        fields = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{CONFIG} is not JSON ({_one_line(error)})") from None
    if not isinstance(fields, dict):
        raise UserError(f"{CONFIG} holds {type(fields).__name__}, not an object")
    version = fields.get("format")
    if type(version) is not int or version < 1:
        raise UserError(f"{CONFIG}: 'format' should be a whole number from 1 on")
    if version > FORMAT:
        raise UserError(f"format {_one_line(version)} is newer than {FORMAT}, the newest known here: upgrade simulacra")
    return fields


def _checked(fields: Fields) -> Record:
    if missing := [name for name in Record.model_fields if name not in fields]:
        raise UserError(f"{CONFIG} lacks '{missing[0]}'")
    return Record.read(fields, CONFIG)


def _tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file, on the CPU."""
    if not path.is_file():
        raise UserError(f"{path.name} is missing")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path.name} is damaged ({_one_line(error)}): copy or download it again") from None


def _expected(kind: type[Model], config: Config, spec: Spec) -> Mapping[str, Tensor]:
    """The tensors that such a model has: without their memory, so that a wrong size is refused before it is taken,
    unless the model needs values to be built."""
    try:
        return _new(kind, config, spec, "meta").state_dict()
    except Exception:  # whatever a model's code raises; if it is not for want of values, `_built` meets it again
        return _built(kind, config, spec).state_dict()


def _built(kind: type[Model], config: Config, spec: Spec) -> Model:
    """The model with weights yet to be loaded."""
    try:
        return _new(kind, config, spec, "cpu")
    except UserError:
        raise
    except Exception as error:  # whatever a model's code raises on settings that do not go together
        raise UserError(f"model '{kind.name}' cannot be built from {CONFIG} ({_one_line(error)})") from error


def _new(kind: type[Model], config: Config, spec: Spec, device: str) -> Model:
    """A model on `device`; the caller's random numbers stay as they are."""
    with torch.device(device), torch.random.fork_rng(devices=[]):
        return kind(config, spec)


def _compare(expected: Mapping[str, Tensor], tensors: Tensors) -> None:
    """Refuse tensors that are not exactly the `expected` ones by name, shape and type."""
    if missing := sorted(expected.keys() - tensors.keys()):
        raise UserError(f"{WEIGHTS} lacks {_first(missing)}")
    if extra := sorted(tensors.keys() - expected.keys()):
        raise UserError(f"{WEIGHTS} holds {_first(extra)}, which the model does not have")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            wanted = list(expected[name].shape)
            raise UserError(f"{WEIGHTS}: '{name}' has shape {list(tensor.shape)}, where the model has {wanted}")
        if tensor.dtype != expected[name].dtype:
            raise UserError(f"{WEIGHTS}: '{name}' is {tensor.dtype}, where the model has {expected[name].dtype}")


def _moved(model: Model, device: str | torch.device) -> Model:
    try:
        return model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"cannot use device '{device}': {_one_line(error)}") from error


# Finding


def locate(where: str | Path, revision: str | None = None) -> Path:
    """The folder of the artifact that `where` means: one here, a run's, or one fetched from the hub (see `load`).

    Raises:
        UserError: there is none.
    """
    place = _absolute(where)
    if place.exists() or _former(place).exists():
        if revision is not None:
            raise UserError(f"'{where}' is a path on this machine: a revision goes with the id of a hub repository")
        return _local(place)
    if isinstance(where, str) and _HUB_ID.fullmatch(where):
        return _local(_fetched(where, revision))
    raise UserError(f"there is no '{where}': give the folder of a run or an artifact, or a hub id owner/name")


def _local(place: Path) -> Path:
    if place.is_file():
        raise UserError(f"'{place}' is a file: give the folder that it lies in")
    for folder in (place, _former(place), place / "model", _former(place / "model")):
        if (folder / CONFIG).is_file():
            return folder
    if (place / "checkpoints").is_dir():
        raise UserError(f"run '{place}' has checkpoints but no model/ yet: go on with its training first")
    raise UserError(f"'{place}' is no artifact: it has no {CONFIG}")


def _absolute(where: str | Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(where)))


def _fetched(repository: str, revision: str | None) -> Path:
    """The artifact's files of a hub repository, from the hub's cache where they are up to date."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(FILES)))
    except RepositoryNotFoundError as error:
        raise UserError(f"there is no '{repository}' here, nor on the hub (if it is private, log in there)") from error
    except LocalEntryNotFoundError as error:
        raise UserError(f"there is no '{repository}' here, and the hub cannot be reached") from error
    except Exception as error:  # the hub's client and the network raise many kinds
        raise UserError(f"there is no '{repository}' here, and the hub did not give it: {_one_line(error)}") from error


# Sharing


def push_to_hub(where: str | Path, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
    """Upload the artifact `where` (a run or artifact folder) to the Hugging Face hub, in place of one that is there.

    Only the files of the format are uploaded. It is loaded first, so that nothing is shared that cannot be loaded.

    Args:
        where: a folder on this machine.
        repo_id: `owner/name`; the repository is made where there is none.
        private: whether a new repository is private.
        token: the hub's access token; by default the one this machine is logged in with.

    Returns:
        The repository's address.

    Raises:
        UserError: there is no such artifact, or the hub refuses.
    """
    from huggingface_hub import HfApi

    if not _HUB_ID.fullmatch(repo_id):
        raise UserError(f"'{repo_id}' is no hub id: write owner/name")
    folder = locate(Path(where))
    load(folder)
    try:
        api = HfApi(token=token)
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        files = list(FILES)
        api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=files, delete_patterns=files)
    except Exception as error:  # the hub's client and the network raise many kinds
        raise UserError(f"cannot share '{repo_id}': {_one_line(error)}") from error
    return str(address)


def _first(names: list[str]) -> str:
    return f"'{names[0]}'" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:200]
