"""Whether a posterior of any shape beats a Gaussian one: *avb* with adaptive contrast beside *vae*, MNIST, 8 latents.

    SIMULACRA_DATA=... python -m benchmarks.implicit_posterior [--out runs] [--jobs 2] [--only avb] [--plan] [--show]

Both recipes as they stand, 40 000 updates in batches of 128, equal decoder (two hidden layers of 500 units) and trunk
of the encoder, bits drawn anew at every step. log p(x) of the first 100 test images, made bits once (seed 0), by
annealed importance sampling over z with Hamiltonian transitions (`hais`): 2 000 temperatures, 8 chains, 10 leapfrog
steps, as in the published evaluation (Mescheder et al. 2017), but from the prior on, along a sigmoidal schedule, and
with steps found in a pilot run. The difference is paired, image by image. What *avb*'s ratio network says of the ELBO
is an estimate and no bound. A bound of both is that of 5 000 importance weights, on the first 1 000 test images, z
being drawn from a Gaussian: of *vae*'s posterior itself, of the moments of *avb*'s. *avb*'s contrast has the
posterior's covariance, where the paper's has its variances alone: chosen, with the coder's rate, by pilot runs of 5 000
updates on 55 000 training images, judged on a hundred others.

Single images differ by some nats between two trainings, so there are three of each (seeds 0 to 2); beside the
difference of every seed stands that of the means over seeds, image by image.

Counted by `--plan` on one core of an Intel Xeon: avb 3.2 GFLOP a step and 0.5 h, vae 0.9 GFLOP and 0.15 h; twice that
on an AMD EPYC with AVX2. Annealing adds about 45 TFLOP for each, by arithmetic: 22 000 gradients of the decoder at 800
latents; 13 minutes. The bounds are 7 TFLOP for each; 4 minutes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import simulacra
from benchmarks.tables import Row, Table, conduct, markdown, with_error
from simulacra.metrics.hamiltonian import HamiltonianAIS
from simulacra.metrics.likelihood import weighted_bounds

STEPS, IMAGES = 40_000, 100
WEIGHTS, BOUNDED = 5000, 1000
MODELS, SEEDS = ("vae", "avb"), 3
KINDS = "hais", "iwae"
HEAD = [
    "model",
    "seed",
    "log p(x), first 100",
    "less vae's, paired",
    "5 000 weights, first 1 000",
    "less vae's, paired",
    "−log_prob, all",
    "which is",
    "active",
    "seconds",
    "command",
]


def rows() -> list[Row]:
    """One of each, seed by seed."""
    return [Row(key(name, n), name, "mnist", STEPS, {"latent": "8"}, n) for n in range(SEEDS) for name in MODELS]


def key(name: str, seed: int) -> str:
    """Of a row."""
    return f"{name}-{seed}" if seed else name


def judge(run: Path) -> dict[str, Any]:
    """log p(x) image by image, and what the model says itself."""
    found = simulacra.evaluate(run, metrics=("log_prob", "active_units"), quiet=True).scores
    model: Any = simulacra.load(run)
    pixels: Any = simulacra.open_data("mnist", split="test").data
    x = pixels[:IMAGES] / 127.5 - 1.0
    values = HamiltonianAIS().of_rows(model, x, seed=0, start=0)
    said = found["log_prob"]
    return {
        "hais": values[:, 0].tolist(),
        "effective_chains": values[:, 1].mean().item(),
        "accepted": values[:, 2].mean().item(),
        **weighed(model, pixels[:BOUNDED] / 127.5 - 1.0),
        "log_prob": [said.value, said.standard_error],
        "kind": said.facts["kind"],
        "active": found["active_units"].value,
    }


def weighed(model: Any, x: Tensor) -> dict[str, Any]:
    """The importance weighted bound of every row, and how many weights count."""
    bounds, effective = weighted_bounds(model, x, WEIGHTS)
    return {"iwae": [round(bound, 3) for bound in bounds.tolist()], "effective_weights": effective.mean().item()}


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per training, and one of the differences' mean over seeds."""
    found: list[list[object]] = []
    for seed in range(SEEDS):
        for name in MODELS:
            if "hais" not in (row := done.get(key(name, seed), {})):
                continue
            less = [beyond(kind, [seed], done) if name == "avb" else "-" for kind in KINDS]
            both = [cell for kind, other in zip(KINDS, less) for cell in (with_error(row[kind]), other)]
            said = f"{-row['log_prob'][0]:.2f} ± {row['log_prob'][1]:.2f}"
            rest = [row["kind"], f"{row['active']:.0f} of 8", row["seconds"], f"`{row['command']}`"]
            found.append([name, seed, *both, said, *rest])
    paired = [seed for seed in range(SEEDS) if all("hais" in done.get(key(name, seed), {}) for name in MODELS)]
    if len(paired) > 1:
        less = [beyond(kind, paired, done) for kind in KINDS]
        found.append(["avb", "all", "-", less[0], "-", less[1], *["-"] * 5])
    return found


def beyond(kind: str, seeds: Sequence[int], done: dict[str, dict[str, Any]]) -> str:
    """How much more *avb* has than *vae*, each the mean over seeds, image by image."""
    avb, vae = (np.mean([done[key(name, seed)][kind] for seed in seeds], 0) for name in ("avb", "vae"))
    return with_error((avb - vae).tolist(), "+")


if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("implicit-posterior", rows(), judge), lambda done: markdown(HEAD, lines(done)))
