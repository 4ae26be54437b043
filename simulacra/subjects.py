"""What can be judged: a run, an artifact, or a data set that stands for samples."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from simulacra import artifact, checkpoint
from simulacra.data import Source, Spec, open_data
from simulacra.data.words import shareable
from simulacra.errors import UserError
from simulacra.models.base import Model
from simulacra.runfolder import RunFolder
from simulacra.settings import parse_size


@dataclass(frozen=True, kw_only=True)
class View:
    """How a data set is opened: its word and what is done to its images."""

    word: str
    size: tuple[int, int] | None = None
    channels: int | None = None
    skip_broken: bool = False

    def open(self, split: str) -> Source:
        """One split of it. Raises as `open_data` does."""
        return open_data(
            self.word,
            split=split,
            size=self.size,
            channels=self.channels,  # type: ignore[arg-type]
            skip_broken=self.skip_broken,
        )


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is judged: a `model`, or the rows of `source`.

    Attributes:
        title: what people call it.
        spec: what its rows are.
        facts: what the record of a score says of it.
        trained_on: the data of its run, which it is compared with where nothing else is asked for.
        scores: the folder whose `metrics.json` its scores belong in; None where they are only shown.
        artifact: the folder whose card lists its scores.
    """

    title: str
    spec: Spec
    model: Model | None = None
    source: Source | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    trained_on: View | None = None
    scores: Path | None = None
    artifact: Path | None = None


def of_data(view: View, split: str) -> Subject:
    """A data set as samples. Raises as `open_data` does."""
    source = view.open(split)
    facts = {"kind": "data", "word": shareable(source.word), "split": split, "fingerprint": source.fingerprint}
    return Subject(title=source.word, spec=source.spec, source=source, facts=facts)


def of_model(where: str, device: torch.device) -> Subject:
    """A run's or an artifact's model, or one of the hub's.

    Raises:
        UserError: there is no such model, or it is damaged.
    """
    folder, model = artifact.locate(where), artifact.load(where, device=device)
    run = _run_of(folder)
    record = run.record() if run else None
    here = Path(where).expanduser().exists()
    weights = json.loads((folder / artifact.CONFIG).read_text("utf-8"))["weights"]
    facts = {"kind": "model", "model": model.name, "weights": weights, "sha256": _digest(folder)}
    return Subject(
        title=str(where).rstrip("/"),
        spec=model.spec,
        model=model,
        facts=facts | _origin(run, record),
        trained_on=trained_on(record) if record else None,
        scores=(run.path if run else folder) if here else None,
        artifact=folder if here else None,
    )


def trained_on(record: Mapping[str, Any]) -> View:
    """The data of a run, from its `recipe.json`."""
    run = record["run"]
    return View(
        word=record["data"]["word"],
        size=parse_size(run.get("size")),
        channels=run.get("channels"),
        skip_broken=bool(run.get("skip_broken")),
    )


def _run_of(folder: Path) -> RunFolder | None:
    """The run whose artifact lies in `folder`."""
    run = RunFolder(folder.parent)
    return run if folder.name == run.model.name and (folder.parent / "recipe.json").exists() else None


def _origin(run: RunFolder | None, record: Mapping[str, Any] | None) -> dict[str, Any]:
    if run is None or record is None:
        return {}
    steps = [checkpoint.step_of(place) for place in checkpoint.listed(run.checkpoints)]
    step = steps[-1] if steps else None
    return {"recipe": record["recipe"], "step": step, "training_seed": record["run"].get("seed")}


def _digest(folder: Path) -> str:
    path = folder / artifact.WEIGHTS
    if not path.is_file():
        raise UserError(f"artifact {folder}: {path.name} is missing")
    return hashlib.sha256(path.read_bytes()).hexdigest()
