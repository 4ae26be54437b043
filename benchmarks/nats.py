"""Nats of variational autoencoders on MNIST: one layer and two, one importance sample and fifty.

    SIMULACRA_DATA=... python -m benchmarks.nats [--out runs] [--jobs 2] [--only vae ...] [--plan] [--show]

Each row but the last is a `simulacra train` command with the same number of parameter updates, 120 000 in batches of
100 (200 passes), Adam at 10⁻³ that falls to zero along a cosine, bits drawn anew at every step. Networks have two
hidden layers of 200 ReLU units; one layer of latents has 50 dimensions, two have 100 and 50, as in Burda et al. (2016,
§5), whose units are tanh and whose training is 3 280 passes long. The last is *vae* as the recipe comes. Nothing else
was tuned.

Judged at the last step by the averaged weights, on test images made bits once (seed 0): the ELBO of all 10 000, the
importance weighted bound with 5 000 samples on the first 1 000 and with 500 on all, and the active units. "Better than
vae" is of the former, image by image. A step with 50 samples decodes 50 times as much, so the seconds stand beside.

Counted on one thread, GFLOP a step, and hours on an Intel Xeon: vae 0.2 and 0.2, iwae with 50 samples 6.3 and 1.8, full
covariance 0.4 and 0.3, free bits 0.2 and 0.2, hvae 0.3 and 0.3, vae as it comes 0.1; judging a row takes 4 minutes. A
step of iwae takes 0.06 to 0.08 s on one core of an AMD EPYC.

Three settings were changed after looking at results: the first weights (before, one layer of 50 latents came to −89.4
by the third column, 12 latents in use; Glorot's were chosen among four starts by 500 training images held out); where
correlations of a full covariance start (before, −100.9; now at zero); and the warm-up of the divergence was written
when *hvae* without one had come to −89.4, nothing in its upper layer. A quarter of the steps is the one length that was
tried, in a pilot of 40 000 steps on 55 000 training images.
"""

from pathlib import Path
from typing import Any

import simulacra
from benchmarks.tables import Row, Table, conduct, markdown, with_error
from simulacra.metrics.likelihood import weighted_bounds

STEPS, AS_IT_COMES, LATENT, LATENTS = 120_000, 40_000, "50", "100,50"
COMMON = {"width": "200", "depth": "2", "batch": "100"}
MODELS = {
    "vae": ("vae", {"latent": LATENT, "network": "mlp"}),
    "iwae 50": ("iwae", {"latent": LATENT, "network": "mlp", "samples": "50"}),
    "vae full covariance": ("vae", {"latent": LATENT, "network": "mlp", "covariance": "full"}),
    "vae free bits": ("vae", {"latent": LATENT, "network": "mlp", "free_bits": "0.05"}),
    "hvae without warm up": ("hvae", {"latents": LATENTS, "warm_up": "0"}),
    "vae warm up": ("vae", {"latent": LATENT, "network": "mlp", "warm_up": "0.25"}),
    "hvae": ("hvae", {"latents": LATENTS, "warm_up": "0.25"}),
}
FIRST = 1000
HEAD = [
    "model", "ELBO", "IWAE-5000, first 1 000", "better than vae", "IWAE-500, all", "active / latents", "seconds",
    "command",
]  # fmt: skip


def rows() -> list[Row]:
    """One of each, and *vae* with the recipe's own options and budget."""
    found = [Row(name.replace(" ", "-"), kind, "mnist", STEPS, COMMON | own) for name, (kind, own) in MODELS.items()]
    return [*found, Row("vae-as-it-comes", "vae", "mnist", AS_IT_COMES)]


def judge(run: Path) -> dict[str, Any]:
    """The bounds with their standard errors, that of 5 000 samples image by image too, and the latents in use."""
    options = {"iwae.samples": 500, "iwae.images": None}
    asked = "log_prob", "active_units", "iwae"
    found = simulacra.evaluate(run, metrics=asked, options=options, quiet=True).scores
    kept: dict[str, Any] = {name: [found[name].value, found[name].standard_error] for name in ("log_prob", "iwae")}
    kept["active"] = [found["active_units"].value, found["active_units"].facts["latents"]]
    model: Any = simulacra.load(run)
    pixels: Any = simulacra.open_data("mnist", split="test").data
    bounds, _ = weighted_bounds(model, pixels[:FIRST] / 127.5 - 1.0, 5000)
    return kept | {"iwae_5000": [round(bound, 3) for bound in bounds.tolist()]}


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per model, with how much better its IWAE-5000 is than that of the plain VAE of equal updates."""
    base, found = done.get("vae", {}).get("iwae_5000"), []
    for key in (row.key for row in rows()):
        if "iwae_5000" in (row := done.get(key, {})):
            bounds = row["iwae_5000"]
            better = with_error([a - b for a, b in zip(bounds, base)], "+") if base and key != "vae" else "-"
            elbo, all_images = (f"{row[k][0]:.2f} ± {row[k][1]:.2f}" for k in ("log_prob", "iwae"))
            said = with_error(bounds), better, all_images, "{:.0f} / {:.0f}".format(*row["active"])
            found.append([key.replace("-", " "), elbo, *said, row["seconds"], f"`{row['command']}`"])
    return found


def main() -> None:
    conduct(__doc__, lambda out: Table("nats", rows(), judge), lambda done: markdown(HEAD, lines(done)))


if __name__ == "__main__":
    main()
