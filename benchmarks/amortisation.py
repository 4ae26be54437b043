"""What an encoder costs: *svi*, whose posteriors are fitted row by row, beside *vae*, which amortises them, on MNIST.

    SIMULACRA_DATA=... python -m benchmarks.amortisation [--out runs] [--jobs 2] [--only vae ...] [--plan] [--show]

Equal number of updates of the decoder, 20 000 in batches of 128, equal decoders (two hidden layers of 200 units, 20
latents), bits drawn anew at every step; "vae, longer" has 40 000. A step of *svi* fits each row's posterior in 40 steps
of Adam first, so the seconds stand beside. Test images are made bits once (seed 0). The gap is the mean over the first
500 of the ELBO at each image's own best posterior less that of the model's, 100 draws for both, the best being looked
for by 500 steps of Adam from the model's on (`amortisation_gap`).

Counted by `--plan` on one thread of an AMD EPYC in float32 with AVX2: svi 4.3 GFLOP a step and 0.9 h, vae 0.3 GFLOP
and 0.05 h.
"""

from pathlib import Path
from typing import Any

import simulacra
from benchmarks.tables import Row, Table, conduct, markdown

STEPS, LONGER = 20_000, 40_000
COMMON = {"latent": "20", "width": "200"}
MODELS = {"vae": ("vae", STEPS), "vae, longer": ("vae", LONGER), "svi": ("svi", STEPS)}
HEAD = ["model", "steps", "ELBO, first 500", "refined", "gap", "IWAE-500, first 500", "seconds", "command"]


def rows() -> list[Row]:
    """One of each."""
    return [Row(name.replace(", ", "-"), kind, "mnist", steps, COMMON) for name, (kind, steps) in MODELS.items()]


def judge(run: Path) -> dict[str, Any]:
    """The gap with what it is a difference of, and the importance weighted bound of the same images."""
    options = {"iwae.samples": 500, "iwae.images": 500}
    found = simulacra.evaluate(run, metrics=("amortisation_gap", "iwae"), options=options, quiet=True).scores
    gap, iwae = found["amortisation_gap"], found["iwae"]
    facts = {name: gap.facts[name] for name in ("elbo", "refined")}
    return {"gap": [gap.value, gap.standard_error], "iwae": [iwae.value, iwae.standard_error], **facts}


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per model."""
    found = []
    for name, (_, steps) in MODELS.items():
        if "gap" in (row := done.get(name.replace(", ", "-"), {})):
            gap, iwae = (f"{row[k][0]:.{digits}f} ± {row[k][1]:.{digits}f}" for k, digits in (("gap", 3), ("iwae", 2)))
            bounds = f"{row['elbo']:.2f}", f"{row['refined']:.2f}"
            found.append([name, steps, *bounds, gap, iwae, row["seconds"], f"`{row['command']}`"])
    return found


if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("amortisation", rows(), judge), lambda done: markdown(HEAD, lines(done)))
