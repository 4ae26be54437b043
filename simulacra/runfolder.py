"""The folder of a run: what it is a run of (`recipe.json`), on what (`environment.json`), and who may write to it."""

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import Field

from simulacra import __version__
from simulacra.config import Config
from simulacra.errors import MachineError, UserError

FORMAT = 1


class DataRecord(Config):
    """The data of a run, in its record."""

    word: str
    split: str
    rows: int
    spec: dict[str, Any]
    summary: str
    fingerprint: str
    in_memory: bool


class BudgetRecord(Config):
    """The budget of a run: one of the two."""

    steps: int | None
    minutes: float | None


class Record(Config):
    """What `recipe.json` holds."""

    format: int
    simulacra: str
    recipe: str
    ignorance: float | None = None
    options: dict[str, Any]
    data: DataRecord
    beside: DataRecord | None = None
    run: dict[str, Any]
    budget: BudgetRecord
    horizon: int
    horizon_minutes: float | None
    origin: str | None = Field(alias="from")
    device: str
    channels_last: list[str]
    ended: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunFolder:
    """A run's folder; nothing is made until something is written."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The artifact."""
        return self.path / "model"

    def preview(self, step: int, kind: str) -> Path:
        """The preview picture of a step."""
        return self.path / "previews" / f"{kind}-{step:08d}.png"

    def record(self) -> dict[str, Any] | None:
        """What `recipe.json` says, or None before there is one. Raises UserError where it is not a run's."""
        path = self.path / "recipe.json"
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is not a run's record ({error}): choose another --out") from None
        if not isinstance(content, dict):
            raise UserError(f"{path} is not a run's record: choose another --out")
        if isinstance(content.get("format"), int) and content["format"] > FORMAT:
            raise UserError(f"{path} has format {content['format']}, newer than this version's {FORMAT}: upgrade")
        return Record.read(content, str(path)).model_dump()

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file in one piece."""
        beside = self.path / f".{name}.partial"
        beside.write_text(json.dumps(content, indent=1) + "\n")
        beside.replace(self.path / name)

    def prepare(self) -> None:
        """Make the folder. Raises UserError where a file or somebody else's folder is in the way, MachineError where
        it cannot be written."""
        if self.path.is_file():
            raise UserError(f"--out {self.path} is a file: name a folder")
        inside = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
        if inside - {"run.lock", ".recipe.json.partial"} and "recipe.json" not in inside:
            raise UserError(f"--out {self.path} holds other things than a run: name a new or an empty folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "run.lock").touch()
        except OSError as error:
            raise MachineError(f"cannot write to {self.path}: {error.strerror}") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Inside, no other process trains here. Raises UserError where one does."""
        with (self.path / "run.lock").open("w") as file:
            if os.name == "posix":
                import fcntl

                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not inherited by data workers
                except OSError:
                    raise UserError(
                        f"another process is training in {self.path}: wait, or choose another --out"
                    ) from None
            yield


def environment(device: Any, threads: int, ranks: int) -> dict[str, Any]:
    """Versions, hardware and the command line."""
    packages = ("torch", "torchvision", "numpy", "safetensors", "pillow", "scikit-learn")
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "simulacra": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "platform": platform.platform(),
        "processor": _processor(),
        "device": str(device),
        "threads": threads,
        "ranks": ranks,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
