"""Reading MNIST with few labels: a network that starts from a deep belief net, and the same one that starts at random.

    SIMULACRA_DATA=... python -m benchmarks.dbn_few_labels [--net RUN] [--seeds 3] [--labels 60000 1000 100] [--show]

RUN is a run or an artifact of *dbn* on MNIST without labels, by default that of `benchmarks.parzen`, which has seen the
first 50 000 training images. Both networks are sigmoid layers of the net's sizes under a softmax, and both descend the
cross-entropy of the same labelled images, drawn by the seed with as many of each class, by the same Adam for the same
number of updates (3 000, and 12 000 with all labels); first weights of the one are the net's recognition weights, of
the other N(0, 1/inputs). The rate of each start and number of labels is the best of five by seed 0's error on 5 000
other training images (where all are labelled, of five networks that learn from the 55 000 that are left). Other seeds
take its rates. Errors are of the 10 000 test images after the last update. Seconds are of all that was taught for a
line, rates included.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import simulacra
from benchmarks.tables import Table, markdown, spread, write
from simulacra.data import open_data
from simulacra.data.source import Source
from simulacra.data.subset import some_of_each
from simulacra.models.dbn import DBN
from simulacra.randomness import generator, key_of

RATES, BATCH, VALIDATION = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2), 100, 5_000
UPDATES = {60_000: 12_000, 1000: 3_000, 100: 3_000}
STARTS = ("net", "random")


def network(net: DBN, classes: int, start: str, seed: int) -> nn.Sequential:
    """Sigmoid layers of the net's sizes on brightness in [0, 1], and logits."""
    torch.manual_seed(key_of(seed, 1))
    tops = net.top.weight, net.top.hidden_bias
    weights = [*((layer.recognition, layer.hidden_bias) for layer in net.directed), tops]
    layers: list[nn.Module] = [nn.Flatten()]
    for weight, bias in weights:
        units, above = weight.shape
        linear = nn.Linear(units, above)
        with torch.no_grad():
            linear.weight.copy_(weight.T if start == "net" else torch.randn(weight.T.shape) / weight.shape[0] ** 0.5)
            linear.bias.copy_(bias if start == "net" else torch.zeros_like(bias))
        layers += [linear, nn.Sigmoid()]
    last = nn.Linear(weights[-1][0].shape[1], classes)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def taught(model: nn.Module, x: Tensor, labels: Tensor, rate: float, updates: int, seed: int) -> nn.Module:
    """The network after so many updates on labelled rows."""
    optimizer, noise = torch.optim.Adam(model.parameters(), rate), generator(torch.device("cpu"), seed)
    order = torch.cat([torch.randperm(len(x), generator=noise) for _ in range(updates * BATCH // len(x) + 1)])
    for rows in order[: updates * BATCH].split(BATCH):
        optimizer.zero_grad()
        cross_entropy(model(x[rows]), labels[rows]).backward()
        optimizer.step()
    return model


@torch.no_grad()
def error(model: nn.Module, x: Tensor, labels: Tensor) -> float:
    """The share of rows that are taken for another class, in %."""
    found = torch.cat([model(rows).argmax(1) for rows in x.split(1000)])
    return 100 * (found != labels).double().mean().item()


def unit(source: Source, rows: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
    """Brightness in [0, 1] and labels, of all rows or some."""
    assert source.labels is not None
    rows = np.arange(len(source)) if rows is None else rows
    return source.rows(rows).float() / 255, source.labels[torch.from_numpy(rows)]


def draw(train: Source, labels: int, seed: int, validation: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Labelled rows, and others to choose the rate by; where all are labelled, those are left out of them."""
    order = np.random.default_rng(key_of(seed, 2)).permutation(len(train))
    if labels >= len(train) - validation:
        return unit(train, order[validation:]), unit(train, order[:validation])
    chosen = some_of_each(train, labels // len(train.spec.classes or ()), seed)
    taken = {chosen.name_of(row) for row in range(len(chosen))}
    others = np.array([row for row in order if train.name_of(int(row)) not in taken][:validation])
    return unit(chosen), unit(train, others)


def compare(
    net: DBN, train: Source, test: tuple[Tensor, Tensor], labels: int, seed: int, rates: dict[str, Sequence[float]]
) -> dict[str, Any]:
    """For both starts the rate of `rates` that is best on other training images, and its test error."""
    began, classes = time.perf_counter(), len(train.spec.classes or ())
    few, others = draw(train, labels, seed, VALIDATION)
    labelled = unit(train) if labels >= len(train) else few

    def network_of(start: str, rows: tuple[Tensor, Tensor], rate: float) -> nn.Module:
        return taught(network(net, classes, start, seed), *rows, rate, UPDATES[labels], seed)

    def rate_of(start: str) -> float:
        if len(rates[start]) == 1:
            return rates[start][0]
        return min(rates[start], key=lambda rate: error(network_of(start, few, rate), *others))

    chosen = {start: rate_of(start) for start in STARTS}
    found = {
        start: {"rate": rate, "error": error(network_of(start, labelled, rate), *test)}
        for start, rate in chosen.items()
    }
    return found | {"seconds": round(time.perf_counter() - began)}


def text(done: dict[str, dict[str, Any]]) -> str:
    """A line per number of labels and start."""
    lines = []
    for labels in UPDATES:
        rows = [row for key, row in sorted(done.items()) if key.startswith(f"{labels}-")]
        for start in STARTS if rows else ():
            errors = [row[start]["error"] for row in rows]
            each = ", ".join(f"{one:.2f}" for one in errors)
            seconds = sum(row["seconds"] for row in rows)
            lines.append([labels, start, spread(errors, 2), each, f"{rows[0][start]['rate']:g}", seconds])
    return markdown(["labels", "start", "test error, %", "each seed", "rate", "seconds of both"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--net", default="runs/parzen/dbn", help="run or artifact of a dbn")
    parser.add_argument("--seeds", type=int, default=3, help="draws of labels")
    parser.add_argument("--labels", type=int, nargs="+", default=[*UPDATES], choices=[*UPDATES])
    parser.add_argument("--show", action="store_true", help="write the table of what is finished, and stop")
    given, table = parser.parse_args(), Table("dbn_few_labels", [], lambda run: {})
    if not given.show:
        net = simulacra.load(given.net)
        if not isinstance(net, DBN):
            parser.error(f"{given.net} is a {net.name}, no dbn")
        teach(net, table, given.labels, given.seeds)
    write(table.name, text(done) if (done := table.done()) else "Not run yet.")


def teach(net: DBN, table: Table, numbers: Sequence[int], seeds: int) -> None:
    """Add what is missing: seed 0 first, whose rates the others take."""
    train, test = open_data("mnist"), unit(open_data("mnist", split="test"))
    facts = {"version": simulacra.__version__, "torch": torch.__version__, "threads": torch.get_num_threads()}
    for labels in numbers:
        for seed in range(seeds):
            if (key := f"{labels}-{seed}") in (done := table.done()):
                continue
            rates: dict[str, Sequence[float]] = {
                start: RATES if not seed else (done[f"{labels}-0"][start]["rate"],) for start in STARTS
            }
            table.keep(key, compare(net, train, test, labels, seed, rates) | facts)
            print(f"{key}: done", flush=True)


if __name__ == "__main__":
    main()
