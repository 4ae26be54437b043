"""Reading MNIST with few labels: a network that starts from a deep belief net, and the same one that starts at random.

    SIMULACRA_DATA=... python -m benchmarks.dbn_few_labels --net RUN [--seeds 3] [--labels 60000 1000 100]

RUN is a run or an artifact of `simulacra train dbn --data mnist`, trained on all 60 000 images without labels. Both
networks are sigmoid layers of the net's sizes under a softmax, and both descend the cross-entropy of the same labelled
images, drawn by the seed with as many of each class, by the same Adam for the same number of updates; first weights of
the one are the net's recognition weights, of the other N(0, 1/inputs). The rate of each start and number of labels is
chosen among three by the error on 5 000 other training images, whose labels nothing else sees. Errors are of the 10 000
test images after the last update.
"""

import argparse
import statistics
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import simulacra
from simulacra.data import open_data
from simulacra.data.source import Source
from simulacra.data.subset import some_of_each
from simulacra.models.dbn import DBN
from simulacra.randomness import generator, key_of

RATES, BATCH, VALIDATION = (3e-4, 1e-3, 3e-3), 100, 5_000


def network(net: DBN, classes: int, start: str, seed: int) -> nn.Sequential:
    """Sigmoid layers of the net's sizes on brightness in [0, 1], and logits."""
    torch.manual_seed(key_of(seed, 1))
    tops = net.top.weight, net.top.hidden_bias
    weights = [*((layer.recognition, layer.hidden_bias) for layer in net.directed), tops]
    layers: list[nn.Module] = [nn.Flatten()]
    for weight, bias in weights:
        linear = nn.Linear(*weight.shape)
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


def compare(net: DBN, data: str, labels: int, seed: int, updates: int, validation: int) -> dict[str, float]:
    """Test errors of both starts."""
    train, test = open_data(data), unit(open_data(data, split="test"))
    few, others = draw(train, labels, seed, validation)
    found = {}
    for start in ("net", "random"):
        made = [taught(network(net, len(train.spec.classes or ()), start, seed), *few, r, updates, seed) for r in RATES]
        best = min(made, key=lambda model: error(model, *others))
        found[start] = error(best, *test)
    return found


def line(labels: int, found: Sequence[dict[str, float]]) -> str:
    each = {start: [one[start] for one in found] for start in ("net", "random")}
    words = ", ".join(
        f"{start} {statistics.mean(v):.2f} % ({' '.join(f'{x:.2f}' for x in v)})" for start, v in each.items()
    )
    return f"{labels:6} labels: {words}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", required=True)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, nargs="+", default=[60_000, 1000, 100])
    parser.add_argument("--updates", type=int, help="(default: 3 000, and 12 000 with all labels)")
    parser.add_argument("--validation", type=int, default=VALIDATION)
    given = parser.parse_args()
    net = simulacra.load(given.net)
    if not isinstance(net, DBN):
        parser.error(f"{given.net} is a {net.name}, no dbn")
    for labels in given.labels:
        updates = given.updates or (12_000 if labels > 10_000 else 3_000)
        seeds = range(given.seeds)
        found = [compare(net, given.data, labels, seed, updates, given.validation) for seed in seeds]
        print(line(labels, found), flush=True)


if __name__ == "__main__":
    main()
