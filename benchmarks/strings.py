"""Strings of a known grammar: three estimators of the gradient of a generator whose output is discrete.

    SIMULACRA_DATA=... python -m benchmarks.strings [--out runs] [--jobs 2] [--only score ...] [--plan] [--show]

Data: `grammar`, 100 000 draws of the 1 477 sentences of at most 9 characters. Each row is `simulacra train strings` as
it comes but for the estimator: 8 000 steps of batches of 64; the first also with three times as many. Judged on 10 000
samples of seed 0, of which the data's own law would show 1 475 different sentences, 0.078 nats from uniform.
"""

from pathlib import Path
from typing import Any

import torch

import simulacra
from benchmarks.tables import Row, Table, arguments, chosen, curve, markdown, plan, write
from simulacra.metrics.grammar import Grammar
from simulacra.metrics.measure import Seen

STEPS, LONGER, SAMPLES = 8_000, 24_000, 10_000
ESTIMATORS = ("straight-through", "gumbel", "score")
WATCH = {"evaluate": "grammar", "evaluate_samples": "2000"}


def row(key: str, estimator: str, steps: int) -> Row:
    """One training of seed 0, looked at four times."""
    watch = WATCH | {"evaluate_every": str(steps // 4)}
    return Row(key, "strings", "grammar", steps, {"estimator": estimator}, 0, watch)


def rows() -> list[Row]:
    """Every estimator, and the first one for longer."""
    each = [row(f"{estimator}-0", estimator, STEPS) for estimator in ESTIMATORS]
    return [*each, row("longer-0", ESTIMATORS[0], LONGER)]


def judge(run: Path) -> dict[str, Any]:
    """The scores of the finished run, with their errors, and the share along the training."""
    measure, rows = Grammar(), simulacra.load(run).sample(SAMPLES, seed=0)
    measure.update("fake", Seen(torch.arange(SAMPLES), rows))
    scores = measure.compute()
    found = {name: score.value for name, score in scores.items()}
    return {"scores": found, "error": scores["grammatical"].standard_error, "curve": curve(run, "grammatical")}


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per estimator."""
    found = []
    for row in rows():
        if (ours := done.get(row.key)) and "scores" in ours:
            scores, path = ours["scores"], ", ".join(f"{share:.2f}" for _, share in ours["curve"])
            share = f"{scores['grammatical']:.3f} ± {ours['error']:.3f}"
            kl = f"{scores['sentence_kl']:.3f}" if "sentence_kl" in scores else "-"
            found.append([f"`{ours['command']}`", share, int(scores["sentences"]), kl, path, ours["seconds"]])
    return found


def main() -> None:
    given = arguments(__doc__).parse_args()
    todo, table = chosen(rows(), given.only), Table("strings", rows(), judge)
    if given.plan:
        return plan(todo)
    if not given.show:
        table.run(given.out / "strings", given.jobs, todo, given.seconds)
    path = "grammatical at each quarter"
    head = ["command", "grammatical (bar: 0.95)", "different of 1477", "KL", path, "seconds"]
    write("strings", markdown(head, lines(table.done())))


if __name__ == "__main__":
    main()
