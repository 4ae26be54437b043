"""Updates of an RBM of 784 visible and 500 hidden units, batches of 100, by PCD-1, against scikit-learn's BernoulliRBM.

    SIMULACRA_DATA=... python -m benchmarks.rbm_speed

Both see the same bits as float32, in one process with one setting of threads, block by block in turn; the medians are
compared. Ours is the recipe's game as it is trained: the batch dealt and turned into bits, the update, the norm of the
gradient and the check that all is finite. Theirs is `partial_fit` on a batch that is at hand, which does none of that.
Momentum and weight decay are off in ours, as they are not in theirs.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import sklearn
import torch
from sklearn.neural_network import BernoulliRBM

from simulacra.data import Feed, open_data
from simulacra.game import Clock
from simulacra.recipes import find
from simulacra.session import build

BLOCKS, STEPS, BATCH, HIDDEN = 7, 60, 100, 500


def ours(**options: object) -> Callable[[int], None]:
    kind, source = find("rbm"), open_data("binarized_mnist")
    plan = build(kind, source, kind.options(**{"hidden": HIDDEN, "batch": BATCH, **options}), 0, torch.device("cpu"))
    game, feed = plan.stages[0].game, Feed(source, seed=0, batch=BATCH)
    return lambda number: void(game.step(lambda k: feed.at(number + k), Clock(step=number)))


def theirs() -> Callable[[int], None]:
    source = open_data("binarized_mnist")
    rows = (source.rows(np.arange(100 * BATCH)).flatten(1).numpy() > 127).astype(np.float32)
    machine = BernoulliRBM(n_components=HIDDEN, learning_rate=0.05, batch_size=BATCH, random_state=0)
    return lambda number: void(machine.partial_fit(rows[number % 100 * BATCH :][:BATCH]))


def void(result: object) -> None:
    """Nothing."""


def main() -> None:
    contenders = {
        "scikit-learn": theirs(),
        "simulacra, plain": ours(momentum=0.0, decay=0.0),
        "simulacra, as by default": ours(),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for block in range(BLOCKS + 1):  # the first one warms up
        for name, step in contenders.items():
            began = time.perf_counter()
            for number in range(STEPS):
                step(block * STEPS + number)
            times[name].append((time.perf_counter() - began) / STEPS)
    threads = f"{torch.get_num_threads()} threads (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')})"
    print(f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, python {sys.version.split()[0]}, {threads}")
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:26} {1e3 * value:7.2f} ms an update   {medians['scikit-learn'] / value:5.2f} x")


if __name__ == "__main__":
    main()
