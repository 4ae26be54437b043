"""What every measure of samples makes of known faults, on MNIST with `mnist` features: the sign that was expected,
with its reason, beside the figure that was measured.

    python benchmarks/sensitivity.py [--only MEASURE ...] [--run RUN]        about ten minutes on 2 cores

Reference: 5,000 training images (R). Healthy samples: 5,000 other training images (A); four more such draws (B to E)
tell how much a healthy figure varies. Faults of A: blur (Gaussian, σ = 1.5 pixels), noise (Gaussian, σ = 0.3 of the
range, clipped), half of the classes dropped (5,000 others, of the digits 0 to 4), duplicates (500 of A, ten times
each), memorised (R itself). A figure counts as equal (=) where it is within 3 standard deviations of the five healthy
figures from their mean, else as raised (↑) or lowered (↓). A p-value counts as lowered where it is at most 0.01, as
raised where it is at least 0.99.

log_prob and iwae see test rows instead of samples: with --run VAE the same sets stand for the test rows of a *vae* that
was trained on all training images. ppl and AIS see no rows, only a model's latents or its energy: no fault of samples
can reach them.

EXPECTED was written, and committed, before the first run, and left as it was since. What was mended after it: the
healthy spread was |A − B| alone, which a lucky pair makes too small or too large; and duplicates stood one behind the
other, so that a measure of the first 1,000 rows saw 100 images.
"""

import argparse
import sys
import time
from statistics import mean, stdev

import numpy as np
import torch
from torchvision.transforms.functional import gaussian_blur

import simulacra
from simulacra.data import Spec, open_data
from simulacra.errors import UserError
from simulacra.features.catalogue import find_extractor
from simulacra.metrics import catalogue
from simulacra.metrics.measure import Measure, Score, Seen
from simulacra.metrics.of_model import ModelMeasure, Setting

FAULTS = ("blur", "noise", "half", "duplicates", "memorised")
COUNT = 5_000

EXPECTED: dict[str, tuple[str, str]] = {
    # score: signs for blur, noise, half of the classes, duplicates, memorised; and why
    "fid": ("↑↑↑↑↓", "every fault moves the moments; copies of the reference have its moments exactly: 0"),
    "intra_fid": ("↑↑r↑↓", "as FID within classes; refused (r) where a class has no samples"),
    "kid": ("↑↑↑↑↓", "equal pairs raise the mean kernel among duplicates; equal sets give less than 0, being unbiased"),
    "mmd": ("↑↑↑↑↓", "as KID, with another kernel"),
    "mmd_p": ("↓↓↓↓↑", "every fault is found out at 1,000 rows; equal sets cannot be told apart by any permutation"),
    "is": ("↓↓↓↓=", "less sure, fewer classes, or shares of classes that vary more; memorising is not seen"),
    "h_y": ("↓↓↓↓=", "predictions of spoilt images crowd into few classes; 500 draws share out less evenly than 5,000"),
    "h_y_given_x": ("↑↑===", "the classifier doubts spoilt images only"),
    "precision": ("↓↓==↑", "spoilt images leave the reference's balls; a reference row lies in its own ball"),
    "recall": ("↓↓↓↓↑", "lost modes; a duplicate's nearest neighbour is at distance 0, so its ball is a point"),
    "density": ("↓↓==↑", "as precision, counting balls; dropping classes does not change where the others lie"),
    "coverage": ("↓↓↓↓↑", "balls of the reference that no sample falls into; copies fall into every one"),
    "ndb": ("↑↑↑↑↓", "shares of bins differ; duplicates break the test's independence; copies have equal shares"),
    "ndb_js": ("↑↑↑↑↓", "the same shares, as a divergence"),
    "swd": ("↑↑↑↑↓", "every fault moves projections; equal sets are at distance 0"),
    "wasserstein": ("↑↑↑↑↓", "as above; with duplicates most mass must travel to rows that have no partner"),
    "modes": ("==↓==", "all ten digits are named somewhere unless they are missing"),
    "mode_kl": ("↑↑↑↑=", "shares of predicted classes: crowded, missing, or drawn from 500"),
    "parzen": (
        "↓↓↓↓=",
        "kernels lie further from test images, are missing, or are 500; R is as good as A",
    ),
    "memorised": (
        "↓↓↑=↑",
        "spoilt images lie far from the training set; 0 to 4 vary less than 5 to 9",
    ),
    "copies": ("↓↓↑=↑", "the same distances, at their lower end"),
    "log_prob": ("↓↓↑==", "bits of blurred or noisy images are unlikely; 0 to 4 hold the ones, the likeliest digit"),
    "iwae": ("↓↓↑==", "as log_prob; a model that was trained on all of these rows tells none of them apart"),
    "cas": ("↓↓↓↓=", "a classifier learns less from spoilt images, half of the classes, or 500 images"),
}


def images() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Images uint8 by set, and labels: R, A, B, the faults, the test images and the last sixth of the training set."""
    train, test = open_data("mnist"), open_data("mnist", split="test")
    order = np.random.default_rng(0).permutation(50_000)
    assert train.labels is not None
    assert test.labels is not None
    x, y = train.rows(order), train.labels[torch.from_numpy(order)]
    r, a, *more = (slice(k * COUNT, (k + 1) * COUNT) for k in range(6))
    rest = slice(2 * COUNT, None)
    few = (y[rest] < 5).nonzero().flatten()[:COUNT]
    noise = torch.randn(x[a].shape, generator=torch.Generator().manual_seed(0))
    ten = torch.arange(500).repeat_interleave(10)
    late = np.arange(50_000, 51_000)
    sets = {
        "R": (x[r], y[r]),
        "A": (x[a], y[a]),
        **{name: (x[part], y[part]) for name, part in zip("BCDE", more)},
        "blur": (gaussian_blur(x[a], [9, 9], [1.5, 1.5]), y[a]),
        "noise": ((x[a] / 255 + 0.3 * noise).clamp(0, 1).mul(255).round().to(torch.uint8), y[a]),
        "half": (x[rest][few], y[rest][few]),
        "duplicates": (x[a][ten], y[a][ten]),
        "memorised": (x[r], y[r]),
        "test": (test.rows(np.arange(len(test))), test.labels),
        "validation": (train.rows(late), train.labels[torch.from_numpy(late)]),
    }
    mixed = {name: _in_any_order(k, *pair) for k, (name, pair) in enumerate(sets.items())}
    return {name: pair[0] for name, pair in mixed.items()}, {name: pair[1] for name, pair in mixed.items()}


def _in_any_order(key: int, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows in an order of their own, as the judge numbers them: measures that look at fewer than all take the first."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(key))
    return x[order], y[order]


def rows_of(role: str, samples: str) -> str:
    """The set that plays a role where `samples` are judged."""
    return {"samples": samples, "reference": "R", "train": "R"}.get(role, role)


def score(kind: type[Measure], samples: str, seen: dict, spec: Spec) -> dict[str, Score] | None:
    """The scores of a set; None where they are refused."""
    measure = kind(spec=spec)
    extractor = kind.features or "mnist"
    try:
        for side, role in kind.sides.items():
            measure.update(side, seen[extractor, rows_of(role, samples)])
        return measure.compute()
    except UserError as error:
        print(f"{kind.name} of {samples} refused: {error}", file=sys.stderr, flush=True)
        return None


def sign(name: str, healthy: list[float], other: Score | None) -> str:
    """How a faulty figure differs from the healthy ones."""
    if other is None:
        return "r"
    if name == "mmd_p":
        return "↓" if other.value <= 0.01 else "↑" if other.value >= 0.99 else "="
    change = other.value - mean(healthy)
    return "=" if abs(change) <= 3 * stdev(healthy) else "↑" if change > 0 else "↓"


def of_model(kind: type[ModelMeasure], model, x: dict[str, torch.Tensor], name: str) -> dict[str, Score]:
    """The scores of a model where the set `name` stands for the test rows."""

    def test(count: int | None):
        rows = x[name][:count].float() / 127.5 - 1
        yield from ((start, rows[start : start + 500]) for start in range(0, len(rows), 500))

    return kind().compute(model, Setting(test=test, features=lambda rows: rows))


def row(name: str, found: dict) -> tuple[str, int]:
    """A line of the table, and how many signs are as expected."""
    healthy = [found[each][name].value for each in "ABCDE"]
    cells, hits = [], 0
    for fault, expected in zip(FAULTS, EXPECTED[name][0]):
        other = found[fault] and found[fault].get(name)
        got = sign(name, healthy, other)
        hits += got == expected
        cells.append(f"{other.value:.4g} {got}" if other else got)
        cells[-1] += "" if got == expected else f" (expected {expected})"
    return f"| {name} | {mean(healthy):.4g} ± {stdev(healthy):.2g} | {' | '.join(cells)} |", hits


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--run", help="a vae trained on MNIST, for the measures that see test rows")
    given = parser.parse_args()
    spec = open_data("mnist").spec
    x, y = images()
    seen: dict[tuple[str, str], Seen] = {}
    for extractor in ("mnist", "pixels"):
        look = find_extractor(extractor, spec)
        for name, rows in x.items():
            seen[extractor, name] = Seen(torch.arange(len(rows)), *look(rows), y[name])
    print("| score | healthy | " + " | ".join(FAULTS) + " |")
    print("|---|---|" + "---|" * len(FAULTS), flush=True)
    right = total = 0
    for kind in catalogue.measures().values():
        if kind.name not in (given.only or catalogue.measures()) or not kind.better.keys() <= EXPECTED.keys():
            continue
        began = time.monotonic()
        if issubclass(kind, Measure):
            found = {name: score(kind, name, seen, spec) for name in (*"ABCDE", *FAULTS)}
        elif given.run:
            model = simulacra.load(given.run)
            found = {name: of_model(kind, model, x, name) for name in (*"ABCDE", *FAULTS)}
        else:
            continue
        for name in found["A"] or ():
            line, hits = row(name, found)
            right, total = right + hits, total + len(FAULTS)
            print(line, flush=True)
        print(f"{kind.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"\n{right} of {total} signs as expected")


if __name__ == "__main__":
    main()
