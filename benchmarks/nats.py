"""Nats of variational autoencoders on MNIST: one layer and two, one importance sample and fifty.

    SIMULACRA_DATA=... python -m benchmarks.nats [--out runs] [--jobs 2] [--only vae ...] [--plan] [--show]

Each row is a `simulacra train` command with the same number of parameter updates, 30 000 in batches of 100 (50 passes),
Adam at 10⁻³ that falls to zero along a cosine, bits drawn anew at every step. Networks have two hidden layers of 200
ReLU units; one layer of latents has 50 dimensions, two have 100 and 50, as in Burda et al. (2016, §5), whose units are
tanh and whose training is 3 280 passes long. Nothing was tuned.

Judged at the last step by the averaged weights, on test images made bits once (seed 0): the ELBO of all 10 000, the
importance weighted bound with 5 000 samples on the first 1 000 and with 500 on all, and the active units. A step with
50 samples decodes 50 times as much, so the seconds stand beside.
"""

from pathlib import Path
from typing import Any

import simulacra
from benchmarks.tables import Row, Table, conduct, markdown

STEPS, LATENT, LATENTS = 30_000, "50", "100,50"
COMMON = {"width": "200", "depth": "2", "batch": "100"}
MODELS = {
    "vae": ("vae", {"latent": LATENT, "network": "mlp"}),
    "iwae 50": ("iwae", {"latent": LATENT, "network": "mlp", "samples": "50"}),
    "vae full covariance": ("vae", {"latent": LATENT, "network": "mlp", "covariance": "full"}),
    "vae free bits": ("vae", {"latent": LATENT, "network": "mlp", "free_bits": "0.05"}),
    "hvae": ("hvae", {"latents": LATENTS}),
    "hvae 50": ("hvae", {"latents": LATENTS, "samples": "50"}),
}
BOUNDS = {"iwae_5000": (5000, 1000), "iwae_500": (500, None)}
HEAD = [
    "model", "ELBO", "IWAE-5000, first 1 000", "IWAE-500, all", "better than vae", "active / latents", "seconds",
    "command",
]  # fmt: skip


def rows() -> list[Row]:
    """One of each."""
    return [Row(name.replace(" ", "-"), kind, "mnist", STEPS, COMMON | own) for name, (kind, own) in MODELS.items()]


def judge(run: Path) -> dict[str, Any]:
    """The bounds with their standard errors, and the latents in use."""
    found = simulacra.evaluate(run, metrics=("log_prob", "active_units"), quiet=True).scores
    kept: dict[str, Any] = {"log_prob": _with_error(found["log_prob"])}
    kept["active"] = [found["active_units"].value, found["active_units"].facts["latents"]]
    for name, (samples, images) in BOUNDS.items():
        options = {"iwae.samples": samples, "iwae.images": images}
        kept[name] = _with_error(simulacra.evaluate(run, metrics="iwae", options=options, quiet=True).scores["iwae"])
    return kept


def _with_error(score: Any) -> list[float]:
    return [score.value, score.standard_error]


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per model, with how much better its IWAE-500 is than the plain VAE's."""
    base, found = done.get("vae", {}).get("iwae_500"), []
    for name in MODELS:
        if "iwae_500" in (row := done.get(name.replace(" ", "-"), {})):
            bounds = [f"{row[k][0]:.2f} ± {row[k][1]:.2f}" for k in ("log_prob", *BOUNDS)]
            better = f"{row['iwae_500'][0] - base[0]:+.2f}" if base else "-"
            used = "{:.0f} / {:.0f}".format(*row["active"])
            found.append([name, *bounds, better, used, row["seconds"], f"`{row['command']}`"])
    return found


def main() -> None:
    conduct(__doc__, lambda out: Table("nats", rows(), judge), lambda done: markdown(HEAD, lines(done)))


if __name__ == "__main__":
    main()
