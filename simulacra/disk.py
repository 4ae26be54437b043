"""Files that are written whole or not at all, and where those are kept that can be made anew."""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable, where the system allows a folder to be opened for that."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace(path: Path, content: bytes) -> None:
    """Make `path` hold `content`: written beside it, waited for until it is on the disk, and then renamed, so that
    `path` is never half a file, whoever else writes it. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write_durably(beside, content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def cache_folder(name: str = "") -> Path:
    """`$SIMULACRA_CACHE/name`, `~/.cache/simulacra/name` where that is not set; it need not exist."""
    return Path(os.environ.get("SIMULACRA_CACHE") or Path.home() / ".cache" / "simulacra", name)
