"""Folders and zip archives as numbered pictures."""

import os
import stat
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simulacra.data.names import Names
from simulacra.data.pixels import open_picture
from simulacra.errors import UserError

LARGEST_MEMBER = 1 << 30  # declared bytes above which an archive's member is refused
SMALL_MEMBER = 1 << 24  # declared bytes up to which the compression ratio does not matter
LARGEST_RATIO = 1000
LOCAL_HEADER = 30  # bytes of a member's own header before its name


@final
@dataclass(frozen=True, slots=True)
class Folder:
    """Files below a folder, by posix path relative to it."""

    root: str
    names: Names
    encoded: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def open(self, row: int) -> Image.Image:
        """The picture, opened and not yet decoded."""
        return open_picture(os.path.join(self.root, self.names[row]))

    def blob(self, row: int) -> bytes:
        """The file's bytes."""
        return Path(self.root, self.names[row]).read_bytes()

    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each file."""
        return self.encoded

    def take(self, rows: NDArray[np.int64]) -> "Folder":
        """The files of the given rows."""
        return Folder(self.root, self.names.take(rows), self.encoded[rows])


@final
@dataclass(frozen=True, slots=True)
class Archive:
    """Members of a zip. Of each only numbers are held (`table` [N, 5]: offset, packed bytes, bytes, method, CRC), and
    the file is opened anew for every read, so that forked workers and threads share nothing."""

    path: str
    names: Names
    table: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def open(self, row: int) -> Image.Image:
        """The picture, opened and not yet decoded."""
        return open_picture(BytesIO(self.blob(row)))

    def blob(self, row: int) -> bytes:
        """The member's unpacked bytes; raises ValueError where they are torn."""
        offset, packed, size, method, crc = self.table[row].tolist()
        with open(self.path, "rb") as file:
            file.seek(offset)
            local = file.read(LOCAL_HEADER)
            if local[:4] != b"PK\x03\x04":
                raise ValueError("torn archive member")
            file.seek(int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little"), os.SEEK_CUR)
            data = _unpack(file.read(packed), method, size)
        if len(data) != size or zlib.crc32(data) != crc:
            raise ValueError("torn archive member")
        return data

    def sizes(self) -> NDArray[np.int64]:
        """Unpacked bytes of each member."""
        return self.table[:, 2]

    def take(self, rows: NDArray[np.int64]) -> "Archive":
        """The members of the given rows."""
        return Archive(self.path, self.names.take(rows), self.table[rows])


def list_folder(path: str) -> Folder:
    """All visible regular files below a folder, sorted by name; links are followed, each folder once.

    Raises:
        UserError: the path is missing, is no folder, or cannot be read.
    """
    if not os.path.exists(path):
        raise UserError(f"no folder {path!r}: check the path")
    if not os.path.isdir(path):
        raise UserError(f"{path!r} is a file, not a folder: give its folder, or write zip:PATH or npz:PATH")
    files = sorted(_walk(path))
    return Folder(path, Names(name for name, _ in files), np.array([size for _, size in files], np.int64))


def _walk(root: str) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    seen: set[tuple[int, int]] = set()
    for folder, below, files in os.walk(root, followlinks=True, onerror=_unreadable):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:
            below.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        below[:] = sorted(name for name in below if is_visible(name))
        prefix = os.path.relpath(folder, root).replace(os.sep, "/") + "/"
        found.extend(_regular(folder, "" if prefix == "./" else prefix, files))
    return found


def _regular(folder: str, prefix: str, files: list[str]) -> list[tuple[str, int]]:
    found = []
    for name in filter(is_visible, files):
        try:
            facts = os.stat(os.path.join(folder, name))
        except OSError:  # a dangling link, or a file that has just gone: listed, and broken when it is opened
            found.append((prefix + name, 0))
            continue
        if stat.S_ISREG(facts.st_mode):
            found.append((prefix + name, facts.st_size))
    return found


def _unreadable(error: OSError) -> None:
    raise UserError(f"cannot read folder {error.filename!r}: {error.strerror}; check its permissions") from error


def is_visible(name: str) -> bool:
    """Whether no part of a posix path is hidden or made by macOS for itself."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def list_zip(path: str) -> Archive:
    """All visible members of a zip, sorted by name.

    Raises:
        UserError: the path is missing or a folder; the file is no zip, torn, encrypted, a decompression bomb, packed
            in a rare way, or has members that point outside it or share a name.
    """
    if os.path.isdir(path):
        raise UserError(f"{path!r} is a folder, not a zip: write folder:PATH")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except FileNotFoundError as error:
        raise UserError(f"no file {path!r}: check the path") from error
    except OSError as error:
        raise UserError(f"cannot read {path!r}: {error.strerror or error}") from error
    except Exception as error:  # BadZipFile, and whatever a torn directory makes zipfile stumble over
        raise UserError(f"{path!r} is not a zip file, or is torn: copy or download it again") from error
    return _archive(path, members)


def _archive(path: str, members: list[zipfile.ZipInfo]) -> Archive:
    for member in members:
        _check_member(path, member)
    members = sorted((member for member in members if is_visible(member.filename)), key=lambda member: member.filename)
    for one, other in zip(members, members[1:]):
        if one.filename == other.filename:
            raise UserError(f"{path!r} holds {one.filename!r} twice: pack it again")
    rows = [(m.header_offset, m.compress_size, m.file_size, m.compress_type, m.CRC) for m in members]
    return Archive(path, Names(m.filename for m in members), np.array(rows, np.int64).reshape(-1, 5))


def _check_member(path: str, member: zipfile.ZipInfo) -> None:
    name = member.filename.replace("\\", "/")
    where = f"{path!r}: member {member.filename!r}"
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
        raise UserError(f"{where} points outside the archive: pack it again with relative names")
    if member.flag_bits & 1:
        raise UserError(f"{where} is encrypted: pack it again without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{where} is packed by method {member.compress_type}: pack it again with deflate")
    ratio = member.file_size / max(member.compress_size, 1)
    if member.file_size > LARGEST_MEMBER or (member.file_size > SMALL_MEMBER and ratio > LARGEST_RATIO):
        raise UserError(f"{where} would unpack to {member.file_size:,} bytes, a decompression bomb: remove it")


def _unpack(packed: bytes, method: int, size: int) -> bytes:
    if method == zipfile.ZIP_STORED:
        return packed
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)
