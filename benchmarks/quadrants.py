"""What is missing from a digit: *cvae* given one, two and three quadrants, beside the baseline that guesses.

    SIMULACRA_DATA=... python -m benchmarks.quadrants [--out runs] [--jobs 2] [--only 1 ...] [--plan] [--show]

The protocol is that of the published rows (Pyro's example, after Sohn et al. 2015): grey targets, whose cross-entropy
is taken for a log-likelihood, of the missing pixels alone; networks with two hidden layers of 500 units, 200 latents,
Adam at 10⁻³ in batches of 128; the prior sees what is given with the baseline's guess in the gaps; 10 draws of the
recognition network behind the bound; 50 passes at most. The published script stops early on the test set. Here 5 000
training images are held out; runs of 10, 20 and 40 passes for each of both parts, whose rates fall to nothing, are
judged on them, and the table has the test scores of the one with the best bound there; the guess is that of the one
whose guess is best there.

Beside it, −log p(y|x) by importance sampling with 100 samples, of bits drawn once (seed 0), and the same model with
p(z) = N(0, I), whose decoder sees what is given, after 20 passes.

Counted by `--plan` on one core of an AMD EPYC with AVX2, in float32: 1.3 GFLOP a step, the mean of both parts, 0.25 h
for a row of 40 passes, 1.8 h for all.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, draw_strips, markdown
from simulacra.data.dealing import order
from simulacra.metrics.filling import Filling
from simulacra.metrics.of_model import Setting

TRAINED, ALL, BATCH = 55_000, 60_000, 128
PASSES, PRIORS = {"learned": (10, 20, 40), "fixed": (20,)}, {"learned": "true", "fixed": "false"}
PUBLISHED = {1: (100.4, 71.8), 2: (61.9, 51.0), 3: (25.4, 24.2)}
"""The "NN" and "CVAE" rows of the published table, in nats."""
PICTURE, SHOWN = ROOT / "docs" / "images" / "quadrants.png", 14
HEAD = [
    "given", "prior", "passes", "guess", "published", "−ELBO", "published", "−log p, bits", "seconds of all lengths",
    "command",
]  # fmt: skip


def rows() -> list[Row]:
    """Every length of every model."""
    return [
        Row(
            f"{quadrants}-{prior}-{passes}",
            "cvae",
            "mnist",
            2 * passes * TRAINED // BATCH,
            {"quadrants": str(quadrants), "conditional_prior": word, "batch": str(BATCH)},
            run={"rows": str(TRAINED)},
        )
        for prior, word in PRIORS.items()
        for quadrants in PUBLISHED
        for passes in PASSES[prior]
    ]


def judge(run: Path) -> dict[str, Any]:
    """Nats of what is missing from test images, and from those held out: [value, standard error]."""
    found: dict[str, Any] = {}
    model: Any = simulacra.load(run)
    for where, x in (("test", pixels("test")), ("held out", held_out())):
        setting = Setting(test=lambda n, rows=x: iter([(0, rows)]), features=lambda rows: rows)
        scores = Filling().compute(model, setting)
        found |= {f"{name}, {where}": [-score.value, score.standard_error] for name, score in scores.items()}
    return found


def pixels(split: str) -> torch.Tensor:
    """All images of a split, in [−1, 1]."""
    data: Any = simulacra.open_data("mnist", split=split).data
    return data / 127.5 - 1.0


def held_out() -> torch.Tensor:
    """The training images that a run of seed 0 with so many rows does not see."""
    return pixels("train")[torch.from_numpy(np.sort(order(0, 0, 0, ALL)[TRAINED:]))]


def best(
    done: dict[str, dict[str, Any]], quadrants: int, prior: str, kind: str = "fill_bound"
) -> tuple[str, dict[str, Any]] | None:
    """The row whose score of this kind is best on the images held out."""
    score, begin = f"{kind}, held out", f"{quadrants}-{prior}-"
    rows = {key: row for key, row in done.items() if key.startswith(begin) and score in row}
    return min(rows.items(), key=lambda item: item[1][score][0]) if rows else None


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per model."""
    found = []
    for quadrants, (guess, bound) in PUBLISHED.items():
        for prior in PRIORS:
            if chosen := best(done, quadrants, prior):
                key, row = chosen
                guesser = best(done, quadrants, prior, "fill_guess") or chosen
                judged = {"fill_guess": guesser[1], "fill_bound": row, "fill_iwae": row}
                nats = [judged[kind][f"{kind}, test"] for kind in KINDS]
                ours = [f"{value:.1f} ± {error:.1f}" for value, error in nats]
                paper = (guess, bound) if prior == "learned" else ("-", "-")
                cells = [ours[0], paper[0], ours[1], paper[1], ours[2]]
                seconds = sum(row["seconds"] for key, row in done.items() if key.startswith(f"{quadrants}-{prior}-"))
                found.append([quadrants, prior, key.split("-")[2], *cells, seconds, f"`{row['command']}`"])
    return found


KINDS = ("fill_guess", "fill_bound", "fill_iwae")


def picture(folder: Path) -> None:
    """For each number of quadrants: test digits, what is given, the guess, three fillings."""
    done = Table("quadrants", rows(), judge).done()
    x = pixels("test")[:SHOWN]
    panels = []
    for quadrants in PUBLISHED:
        chosen = best(done, quadrants, "learned")
        if chosen is None or not (folder / chosen[0] / "model").exists():
            return
        model: Any = simulacra.load(folder / chosen[0])
        panels += [("test digits", x), (f"given: {quadrants} of 4", model.seen(x)), ("guess", model.guess(x))]
        panels += [(f"filled, {k + 1}", model.fill(x, seed=k)) for k in range(3)]
    draw_strips(panels, PICTURE)


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table and the figure."""
    shown = '<img src="images/quadrants.png" width="600" alt="digits filled in from one, two and three quadrants">'
    return "\n\n".join([markdown(HEAD, lines(done)), *([shown] if PICTURE.exists() else [])])


if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("quadrants", rows(), judge), text, finish=picture)
