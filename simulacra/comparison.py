"""Models side by side on one HTML page that needs nothing else: samples, scores, curves over training, truncation."""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simulacra import __version__, disk, images
from simulacra.capabilities import Samples, Truncates
from simulacra.case import Bench
from simulacra.data import Spec
from simulacra.errors import MachineError, UserError
from simulacra.evaluation import Evaluation, judge
from simulacra.features.cache import default_folder
from simulacra.journal import Log
from simulacra.precision import choose_device
from simulacra.protocol import Protocol
from simulacra.scorebook import ScoreBook, comparable, how, number, of_subject, through
from simulacra.subjects import Subject, of_model
from simulacra.tally import Tally, tally

SHOWN = 64  # samples of each model
THRESHOLDS = (0.4, 0.7, 1.0, 1.5, 2.0, inf)  # of truncation
DRAWN = 2000  # samples and reference rows for each of them
CURVES = {"images_per_second", "step", "time"}  # of a line of the log, what is no term


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model on the page, with the evaluations of the weights it has now and those made while it was trained."""

    subject: Subject
    scores: Sequence[Mapping[str, Any]]
    training: Sequence[Mapping[str, Any]]
    log: Sequence[Mapping[str, Any]]


def compare(
    subjects: Sequence[str],
    out: Path,
    *,
    seed: int = 0,
    truncation: bool = True,
    features: str | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> None:
    """Write the page `out` on runs or artifacts.

    Scores are those that `metrics.json` holds of the weights as they are; nothing is judged anew but, with
    `truncation`, samples truncated at some thresholds, of models that can, through the extractor `features` or else
    that of a model's newest score.

    Raises:
        UserError: nothing to compare, or one that cannot be loaded.
        MachineError: the page cannot be written.
    """
    if not subjects:
        raise UserError("name runs or artifacts to compare")
    where, shown = choose_device(device), tally(quiet)
    entries = [_entry(of_model(each, where)) for each in subjects]
    page = _page(entries, seed, _truncations(entries, features, where, shown) if truncation else {})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        disk.replace(out, page.encode())
    except OSError as error:
        raise MachineError(f"cannot write {out}: {error.strerror or error}") from error


def _entry(subject: Subject) -> Entry:
    folder = subject.scores
    book = ScoreBook(folder).read() if folder else []
    in_training = of_subject(book, kind="training")
    last = of_subject(in_training, step=subject.facts.get("step"))
    scores = [*last, *of_subject(book, sha256=subject.facts["sha256"])]
    return Entry(subject=subject, scores=scores, training=in_training, log=Log(folder).lines() if folder else [])


def _page(entries: Sequence[Entry], seed: int, truncations: Mapping[str, Sequence[Evaluation]]) -> str:
    from jinja2 import Environment

    template = files("simulacra").joinpath("reports/compare.html.j2").read_text("utf-8")
    return (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(template)
        .render(
            version=__version__,
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            seed=seed,
            models=[_model(entry, seed) for entry in entries],
            table=_table(entries),
            score_curves=_score_curves(entries),
            terms=[(e.subject.title, _term_curves(e.log)) for e in entries if any("step" in line for line in e.log)],
            truncation=_truncation_curve(truncations),
            truncated=", ".join(f"{title}: {_counts(found[0])}" for title, found in truncations.items()),
            protocols=[(e.subject.title, json.dumps(e.scores, indent=1)) for e in entries if e.scores],
        )
    )


def _model(entry: Entry, seed: int) -> dict[str, Any]:
    subject = entry.subject
    known = {name.replace("_", " "): text for name, text in subject.facts.items() if name != "kind"}
    facts = [(name, text) for name, text in known.items() if text is not None]
    samples = subject.model.sample(SHOWN, seed=seed).cpu() if isinstance(subject.model, Samples) else None
    return {"title": subject.title, "facts": facts, "samples": _picture(samples, subject.spec)}


def _picture(samples: Tensor | None, spec: Spec) -> str | None:
    if samples is None or not images.drawable(spec):
        return None
    return _uri(images.png(samples, spec), "image/png")


def _uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


# Scores


def _table(entries: Sequence[Entry]) -> dict[str, Any]:
    """Scores by row and models by column; a cell says by which protocol it was made."""
    cells: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    protocols: dict[str, str] = {}
    for column, entry in enumerate(entries):
        for evaluation in entry.scores:
            for name, score in evaluation["scores"].items():
                alike = comparable(evaluation, name)
                protocols.setdefault(alike, _protocol(evaluation, name))
                key = name, through(evaluation, score) or ""
                cells.setdefault(key, {})[column] = {**score, "protocol": [*protocols].index(alike)}
    rows = [_row(name, of, found, len(entries)) for (name, of), found in cells.items()]
    return {"titles": [entry.subject.title for entry in entries], "rows": rows, "protocols": [*protocols.values()]}


def _protocol(evaluation: Mapping[str, Any], name: str) -> str:
    """How the figure of the score `name` was made, in words."""
    words = {part: text for part, text in how(evaluation, name).items() if part != "step"}
    return "; ".join(f"{part}: {text}" for part, text in words.items())


def _row(name: str, of: str, found: Mapping[int, Mapping[str, Any]], columns: int) -> dict[str, Any]:
    way = next(iter(found.values()))["better"]
    alike = len({score["protocol"] for score in found.values()}) == 1
    values = [score["value"] for score in found.values()]
    best = {"lower": min, "higher": max}.get(way, lambda _: None)(values) if alike and len(found) > 1 else None
    cells: list[dict[str, Any] | None] = []
    for column in range(columns):
        score = found.get(column)
        text = number(score["value"], score.get("standard_error")) if score else ""
        shown = {"text": text, "protocol": score["protocol"] + 1, "best": score["value"] == best} if score else None
        cells.append(shown)
    return {"name": name, "features": of, "better": way, "alike": alike, "cells": cells}


# Curves


def _score_curves(entries: Sequence[Entry]) -> str | None:
    """Scores taken while training, against the step."""
    names = dict.fromkeys(name for e in entries for each in e.training for name in each["scores"])
    panels = {name: [(e.subject.title, *_curve(e.training, name)) for e in entries] for name in names}
    return _plot(panels, "step") if panels else None


def _curve(evaluations: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    points = [(e["subject"]["step"], e["scores"][name]["value"]) for e in evaluations if name in e["scores"]]
    return [float(step) for step, _ in points], [value for _, value in points]


def _term_curves(log: Sequence[Mapping[str, Any]]) -> str:
    """Every term of a run's log, against the step."""
    lines = [line for line in log if "step" in line and "event" not in line]
    names = dict.fromkeys(n for line in lines for n in line if n not in CURVES and not n.startswith("score/"))
    panels = {}
    for name in names:
        points = [(line["step"], line[name]) for line in lines if name in line]
        panels[name] = [("", [p[0] for p in points], [p[1] for p in points])]
    return _plot(panels, "step")


def _truncations(
    entries: Sequence[Entry], features: str | None, device: torch.device, shown: Tally
) -> dict[str, list[Evaluation]]:
    """Scores of every model that truncates, at every threshold; models that cannot be judged are left out, with a
    word on why."""
    found: dict[str, list[Evaluation]] = {}
    for entry in entries:
        subject = entry.subject
        if not isinstance(subject.model, Truncates) or subject.spec.kind != "image" or not subject.trained_on:
            continue
        try:
            found[subject.title] = list(_truncated(entry, subject.model, features, device, shown))
        except UserError as error:
            shown.say(f"no truncation curve of {subject.title}: {error}; --features X names another extractor")
    return found


def _truncated(
    entry: Entry, model: Truncates, features: str | None, device: torch.device, shown: Tally
) -> Iterator[Evaluation]:
    """The scores of a model at every threshold, through `features` or else the extractor of its newest scores."""
    before = next((e["features"] for e in reversed(entry.scores) if e.get("features")), {})
    given = {"metrics": ("fid", "precision", "recall"), "samples": DRAWN, "real_rows": DRAWN}
    protocol = Protocol.read(given | {"features": features or before.get("extractor")}, "compare")
    bench = Bench(device=device, cache=default_folder(), tally=shown)
    for threshold in THRESHOLDS:
        title = f"{entry.subject.title} within {threshold:g}"
        cut: Any = Truncated(model, threshold)
        scored = judge(replace(entry.subject, title=title, model=cut), protocol, bench=bench)
        if not features and before and scored.record["features"]["sha256"] != before["sha256"]:
            raise UserError(f"{before['extractor']} is another extractor here than its scores were made with")
        yield scored


class Truncated:
    """A model that samples truncated latents only."""

    def __init__(self, model: Truncates, threshold: float) -> None:
        self.model, self.threshold = model, threshold

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Samples of latents within the threshold."""
        return self.model.truncated(n, self.threshold, seed=seed, start=start)


def _counts(found: Evaluation) -> str:
    sides = found.record["sides"]
    return f"{sides['samples']['drawn']:,} samples and {sides['reference']['rows']:,} reference rows for each point"


def _truncation_curve(truncations: Mapping[str, Sequence[Evaluation]]) -> str | None:
    if not truncations:
        return None
    ticks = [t if t != inf else 2 * max(t for t in THRESHOLDS if t != inf) for t in THRESHOLDS]
    panels: dict[str, list[tuple[str, list[float], list[float]]]] = {"precision, by recall": []}
    for title, found in truncations.items():
        values = {name: [e.scores[name].value for e in found] for name in ("fid", "precision", "recall")}
        panels["precision, by recall"].append((title, values["recall"], values["precision"]))
        for name, line in values.items():
            panels.setdefault(f"{name}, by threshold (rightmost: none)", []).append((title, ticks, line))
    return _plot(panels, "")


def _plot(panels: Mapping[str, Sequence[tuple[str, Sequence[float], Sequence[float]]]], x: str) -> str:
    """Panels of (label, x, y) curves as one SVG picture."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = min(3, len(panels)) or 1
    rows = -(-len(panels) // columns) or 1
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), layout="constrained")
    for place, (title, curves) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, place + 1, title=title, xlabel=x)
        for label, xs, ys in curves:
            axes.plot(xs, ys, marker="o" if len(xs) < 30 else "", markersize=3, linewidth=1.2, label=label)
        if any(label for label, _, _ in curves):
            axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    file = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "simulacra"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return _uri(file.getvalue(), "image/svg+xml")
