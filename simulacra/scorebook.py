"""`metrics.json`: every evaluation of a run or an artifact, in the order they were made."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import floor, log10
from pathlib import Path
from typing import Any

from simulacra.disk import replace
from simulacra.errors import MachineError, UserError

FORMAT = 1
NAME = "metrics.json"


class ScoreBook:
    """The evaluations in `folder`; nothing is made until one is added."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def read(self) -> list[dict[str, Any]]:
        """All evaluations, oldest first. Raises UserError where the file is not one of scores, or of a newer format."""
        if not self.path.exists():
            return []
        try:
            content = json.loads(self.path.read_text("utf-8"))
            version, entries = content["format"], content["evaluations"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path} holds no scores ({error}): move it away") from None
        if not isinstance(version, int) or version > FORMAT or not isinstance(entries, list):
            raise UserError(f"{self.path} has format {version}, and {FORMAT} is the newest known here: upgrade")
        return entries

    def check(self) -> None:
        """Refuse now what could not be kept later.

        Raises:
            UserError: the file is not one of scores, or of a newer format.
            MachineError: it cannot be written.
        """
        self.read()
        if not os.access(self.path if self.path.exists() else self.path.parent, os.W_OK):
            raise MachineError(f"cannot write {self.path}: make it writable")

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add an evaluation."""
        self._change(lambda entries: [*entries, dict(entry)])

    def cut(self, step: int) -> None:
        """Drop what training noted past `step`; evaluations made by hand stay."""
        if self.path.exists():
            self._change(lambda entries: [each for each in entries if _stays(each, step)])

    def _change(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        try:
            with self._locked():
                content = {"format": FORMAT, "evaluations": change(self.read())}
                replace(self.path, json.dumps(content, indent=1).encode() + b"\n")
        except OSError as error:
            raise MachineError(f"cannot write {self.path}: {error.strerror or error}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Inside, no other process changes the file (POSIX only)."""
        if os.name != "posix":
            yield
            return
        import fcntl

        with self.path.with_name(f".{NAME}.lock").open("w") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            yield


def _stays(entry: Mapping[str, Any], step: int) -> bool:
    subject = entry.get("subject", {})
    return subject.get("kind") != "training" or subject.get("step", 0) <= step


def of_subject(entries: Sequence[Mapping[str, Any]], **facts: Any) -> list[Mapping[str, Any]]:
    """The evaluations of one subject: those whose `subject` has all these facts."""
    return [each for each in entries if facts.items() <= each.get("subject", {}).items()]


def listing(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The newest value of every score, by its name and extractor, with its error and how it was measured, for a
    model card."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for name, score in entry["scores"].items():
            extractor = through(entry, score)
            error = {"standard_error": score["standard_error"]} if "standard_error" in score else {}
            found[f"{name} ({extractor})" if extractor else name] = {
                "value": score["value"],
                **error,
                **how(entry, name),
            }
    return found


def through(entry: Mapping[str, Any], score: Mapping[str, Any]) -> str | None:
    """The name of the extractor that a score saw its rows through."""
    return entry["features"]["extractor"] if score["through"] == "features" else score["through"]


def number(value: float, standard_error: float | None) -> str:
    """A score as people read it: to two digits of its standard error, where there is one."""
    if not standard_error:
        return f"{value:.5g}" + (" ± 0" if standard_error == 0 else "")
    digits = max(1 - floor(log10(standard_error)), 0)
    return f"{value:.{digits}f} ± {standard_error:.{digits}f}"


def how(entry: Mapping[str, Any], name: str | None = None) -> dict[str, str]:
    """How an evaluation, or its score `name`, was made: a few words for each part of the protocol."""
    scores = list(entry["scores"].values()) if name is None else [entry["scores"][name]]
    words: dict[str, str] = {}
    for score in scores:
        for side, role in score["sides"].items():
            taken = None if name is None else score.get("rows", {}).get(side)
            words[role] = _rows(entry["sides"][role], taken)
    if any(score["through"] == "features" for score in scores):
        facts = entry["features"]
        words["features"] = f"{facts['extractor']} {facts['sha256'][:8]}, resizer {facts['resizer']}"
    if name is not None:
        given = {n: v for n, v in entry["measures"][scores[0]["measure"]].items() if v is not None}
        words |= {"options": " ".join(f"{n} {v}" for n, v in given.items())} if given else {}
    if "samples" not in words:
        words["seed"] = str(entry["seed"])
    step = entry["subject"].get("step")
    return words | ({} if step is None else {"step": f"{step:,}"}) | {"version": entry["simulacra"]}


def comparable(entry: Mapping[str, Any], name: str) -> str:
    """A text that two figures of the score `name` share where they were made alike, to the hash of the real rows, of
    the extractor, and of every option."""
    score = entry["scores"][name]
    sides = {role: entry["sides"][role] for role in score["sides"].values()}
    if "rows" in sides.get("samples", {}):  # data that were judged are themselves what differs
        sides["samples"] = {name: sides["samples"][name] for name in ("rows", "seed")}
    alike = {
        "sides": sides,
        "rows": score.get("rows"),
        "features": entry["features"] if score["through"] == "features" else score["through"],
        "options": entry["measures"][score["measure"]],
        "seed": entry["seed"],
        "simulacra": entry["simulacra"],
    }
    return json.dumps(alike, sort_keys=True)


def _rows(facts: Mapping[str, Any], taken: int | None) -> str:
    """Rows of a side in words, `taken` of them where a score is of fewer."""
    if "drawn" in facts:
        return f"{_part(facts['drawn'], taken)} drawn, seed {facts['seed']}"
    part = _part(facts["of"], min(taken or facts["rows"], facts["rows"]))
    return f"{part} rows of {facts['word']} ({facts['split']}, {facts['fingerprint'][:8]})"


def _part(whole: int, taken: int | None) -> str:
    return f"{whole:,}" if taken in (None, whole) else f"{taken:,} of {whole:,}"
