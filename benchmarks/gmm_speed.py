"""EM of a Gaussian mixture beside scikit-learn's: the same rows, start and number of iterations, in one process.

    SIMULACRA_DATA=... python -m benchmarks.gmm_speed [--iterations 10] [--repeats 3] [--components 10] [--rows 60000]

Rows: the 60 000 training images of MNIST in [0, 1] on their first 50 principal components. Full covariances, float64 on
both sides, no floor (scikit-learn's `reg_covar` 0). The start is ours: k-means++ on 4096 rows. Ours is the game as a
training plays it, batches of 4096 from the feed. Seconds per iteration: of scikit-learn the difference between fits of
1 + iterations and of 1 iteration, so that checks and the last E step of a fit are in neither; of ours the whole step.
Both by the clock and of the processor, which other work on the machine does not add to.
"""

import argparse
import time
import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from torch import Tensor

from simulacra.data import Feed, Source, Spec, open_data
from simulacra.data.names import NumberedRows
from simulacra.game import Clock
from simulacra.models.gmm import GMM
from simulacra.recipes import Plan, find


def rows(count: int) -> Source:
    """The first images as vectors of 50 principal components, float32."""
    source = open_data("mnist")
    pixels = source.rows(np.arange(count)).flatten(1).numpy() / 255.0
    codes = torch.from_numpy(PCA(50, random_state=0).fit_transform(pixels).astype(np.float32))
    return Source(
        word="mnist-pca",
        split="train",
        spec=Spec(kind="vector", shape=(50,), classes=None),
        summary="",
        fingerprint="",
        labels=None,
        names=NumberedRows("mnist-pca", np.arange(count)),
        data=codes,
        count=count,
        in_memory=True,
    )


def begun(source: Source, components: int) -> tuple[Plan, GMM]:
    """A mixture after its start."""
    kind = find("gmm")
    options = {"components": str(components), "floor": "1e-12"}
    plan = kind.build(source.spec, len(source), kind.options().with_overrides(options, "gmm"))
    plan.stages[0].game.step(Feed(source, seed=0, batch=plan.batch).at, Clock())
    assert isinstance(plan.model, GMM)
    return plan, plan.model


class Seconds(NamedTuple):
    """By the clock, and of the processor (of all threads together)."""

    clock: float
    processor: float

    @classmethod
    def now(cls) -> "Seconds":
        return cls(time.perf_counter(), time.process_time())

    def since(self, before: "Seconds", times: int = 1) -> "Seconds":
        return Seconds(*((a - b) / times for a, b in zip(self, before)))


def ours(plan: Plan, source: Source, iterations: int) -> Seconds:
    """Play so many passes; seconds per pass."""
    stage, feed = plan.stages[1], Feed(source, seed=0, stage=1, batch=plan.batch, full_passes=True)
    began = Seconds.now()
    for step in range(iterations * feed.batches_per_pass):
        stage.game.step(lambda k, at=step: feed.at(at + k), Clock(stage=1, step=step))
    return Seconds.now().since(began, iterations)


def theirs(model: GMM, x: np.ndarray, iterations: int) -> tuple[GaussianMixture, Seconds]:
    """scikit-learn's mixture from the same start; seconds of its fit."""
    mixture = GaussianMixture(
        len(model.means),
        tol=0.0,
        reg_covar=0.0,
        max_iter=iterations,
        weights_init=model.weights.detach().numpy().copy(),
        means_init=model.means.detach().numpy().copy(),
        precisions_init=torch.linalg.inv(model.covariances).numpy(),
    )
    began = Seconds.now()
    mixture.fit(x)
    return mixture, Seconds.now().since(began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--rows", type=int, default=60_000)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")
    source = rows(given.rows)
    assert isinstance(source.data, Tensor)
    x = source.data.double().numpy()
    print(f"{len(x):,} x 50, {given.components} full components, float64, {torch.get_num_threads()} threads")
    head = "| repeat | ours, s per iteration (processor) | scikit-learn | ratio | difference, nats per row |"
    print(f"{head}\n|---|---|---|---|---|")
    ours(begun(source, given.components)[0], source, 1)  # what only the first call takes
    for repeat in range(given.repeats):
        plan, model = begun(source, given.components)
        _, one = theirs(model, x, 1)
        reference, more = theirs(model, x, 1 + given.iterations)
        slow, fast = more.since(one, given.iterations), ours(plan, source, given.iterations)
        ours(plan, source, 1)  # as many iterations as theirs
        nats = model.log_prob(source.data.double()).value.mean().item()
        gap = nats - reference.score(x)
        shown = [f"{each.clock:.3f} ({each.processor:.3f})" for each in (fast, slow)]
        ratio = f"{slow.clock / fast.clock:.2f} ({slow.processor / fast.processor:.2f})"
        print(f"| {repeat} | {shown[0]} | {shown[1]} | {ratio} | {gap:.1e} |", flush=True)
    print(f"log-likelihood after {1 + given.iterations} iterations: {nats:.6f} nats per row")


if __name__ == "__main__":
    main()
