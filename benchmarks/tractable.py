"""Exact log-likelihoods of MNIST's test images: *fvbn*, *nade*, *made* and *pixelcnn* on bits, *realnvp* on 256 levels.

    SIMULACRA_DATA=... python -m benchmarks.tractable [--out runs] [--jobs 2] [--only nade ...] [--plan] [--show]

Each row is `simulacra train NAME` as the recipe stands, for its own budget on the 60 000 training images (none is held
out), pixels made bits anew each time an image is seen; *made* has the published row's one hidden layer of 8 000 units.
Judged at the last step, the average of the weights: the 10 000 test images made bits once with seed 0, log p(x) of each
exactly, in nats; ± is its standard error over images. The curve is of the same test bits at ten equally spaced steps;
nothing is chosen by it. Published figures are of pytorch-generative's documentation, dynamic binarisation too.

*realnvp* models brightness, not bits, and its nats do not compare with the others': they are of the density of levels
with uniform noise on [0, 1) added once (seed 0), a lower bound on log P(image) on average. Bits per dimension are nats
over 784 ln 2.

A row's share of its full budget is 1 unless `--steps-share` says otherwise; the table says it. Cost of a training step
and hours before anything is trained: `--plan`. A figure of each system shows ten samples, and of those on bits what the
upper halves of ten test images are completed to.
"""

import time
from pathlib import Path
from typing import Any

from torch import Tensor

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, curve, draw_strips, failure, markdown, pictured, updates
from simulacra.capabilities import Completes
from simulacra.data import open_data
from simulacra.data.batch import to_unit

PASSES = {"fvbn": 50, "nade": 50, "made": 100, "pixelcnn": 20, "realnvp": 20}
BATCHES = {"fvbn": 128, "nade": 128, "made": 128, "pixelcnn": 32, "realnvp": 128}
STEPS = {name: passes * 60_000 // BATCHES[name] for name, passes in PASSES.items()}
OPTIONS = {"made": {"depth": "1", "width": "8000"}}
BARS = {"nade": 88.5, "made": 87.0, "pixelcnn": 82.5}
PUBLISHED = {"fvbn": "96.58", "nade": "85.65", "made": "84.87", "pixelcnn": "81.50 (not gated: 81.45)"}
SAMPLES, SHOWN = 100, 10
HEAD = ["system", "−log p, nats", "bar", "published", "bits / dim", "kind", "parameters", "updates", "share"]
HEAD += ["seconds", f"seconds of {SAMPLES} samples", "nats at each tenth", "command"]


def rows() -> list[Row]:
    """One seed of each, the quickest first."""
    names = ("fvbn", "made", "nade", "realnvp", "pixelcnn")
    return [Row(name, name, "mnist", STEPS[name], OPTIONS.get(name, {}), run=watch(STEPS[name])) for name in names]


def watch(steps: int) -> dict[str, str]:
    """Options of a run that is scored ten times."""
    return {"evaluate": "log_prob", "evaluate_every": str(max(steps // 10, 1))}


def judge(run: Path) -> dict[str, Any]:
    """Nats of all test images at the last step, their curve, and what samples cost."""
    score = simulacra.evaluate(run, metrics=("log_prob",), seed=0, quiet=True).scores["log_prob"]
    model: Any = simulacra.load(run)
    began = time.monotonic()
    model.sample(SAMPLES)
    found = {"nats": -score.value, "error": score.standard_error, "sampling": time.monotonic() - began}
    found |= {name: score.facts[name] for name in ("kind", "bits_per_dimension")}
    path = [(step, -value) for step, value in curve(run, "log_prob")]
    return found | {"parameters": sum(p.numel() for p in model.parameters()), "curve": path}


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per finished system."""
    return [_line(row, done[row.key]) for row in rows() if row.key in done]


def _line(row: Row, ours: dict[str, Any]) -> list[object]:
    name, command = row.key, f"`{ours['command']}`"
    if "nats" not in ours:
        return [name, failure(ours), *["-"] * 5, updates(ours), row.share(ours), ours["seconds"], "-", "-", command]
    bar = f"≤ {BARS[name]}" if name in BARS else "-"
    said = [name, f"{ours['nats']:.2f} ± {ours['error']:.2f}", bar, PUBLISHED.get(name, "-")]
    said += [f"{ours['bits_per_dimension']:.3f}", ours["kind"], f"{ours['parameters'] / 1e6:.2f} M"]
    path = " ".join(f"{value:.1f}" for _, value in ours["curve"])
    cost = [updates(ours), row.share(ours), ours["seconds"], f"{ours['sampling']:.1f}"]
    return [*said, *cost, path, command]


def picture(folder: Path) -> None:
    """Draw the figure of each system whose run is there."""
    images = open_data("mnist", split="test").data
    assert isinstance(images, Tensor)
    given = to_unit(images[:SHOWN])
    for name in PASSES:
        if (folder / name / "model").exists():
            model: Any = simulacra.load(folder / name)
            panels = [(f"{name}: samples", model.sample(SHOWN))]
            if isinstance(model, Completes):
                panels += [("completions", model.complete(given, given[0].numel() // 2)), ("test images", given)]
            draw_strips(panels, ROOT / "docs" / "images" / f"tractable-{name}.png")


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table and the figures."""
    shown = [row.key for row in rows() if row.key in done]
    return "\n\n".join([markdown(HEAD, lines(done)), *pictured("tractable", shown, "samples and completions")])


def main() -> None:
    conduct(__doc__, lambda out: Table("tractable", rows(), judge), text, finish=picture, shortens=True)


if __name__ == "__main__":
    main()
