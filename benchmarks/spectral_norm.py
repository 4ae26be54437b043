"""How well the σ that a spectrally normalised discriminator divides by is its σ₁, after training.

    SIMULACRA_DATA=... python -m benchmarks.spectral_norm [--out runs] [--jobs 2] [--only falling ...] [--plan] [--show]

*sngan* on the 8 × 8 digits, base width 16, one discriminator step to one of the generator, 600 steps: with its rates
falling to zero, as it comes, and at a constant one, by one, three and five power iterations a step. For every
normalised layer of the last checkpoint: 1 − uᵀWv / σ₁ with the stored u and v, σ₁ by singular value decomposition in
float64; the row has the worst layer's.

Counted by `--plan` on one core of an Intel Xeon: 1.0 GFLOP a step, and a minute or less for a row.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.tables import Row, Table, conduct, markdown

PART = ".parametrizations.weight"
SHARED = {"width": "16", "discriminator_steps": "1"}
WAYS = {
    "falling": {"schedule": "linear"},
    "constant": {"schedule": "constant"},
    "constant, 3": {"schedule": "constant", "power_iterations": "3"},
    "constant, 5": {"schedule": "constant", "power_iterations": "5"},
}


def rows() -> list[Row]:
    """One training each."""
    return [Row(name, "sngan", "digits", 600, SHARED | options) for name, options in WAYS.items()]


def lags(run: Path) -> dict[str, float]:
    """By layer: how much of σ₁ the stored vectors miss."""
    newest = max((run / "checkpoints").glob("step-*"))
    tensors = load_file(newest / "tensors.safetensors")
    found = {}
    for key in (key for key in tensors if key.endswith(f"{PART}.0._u")):
        weight = tensors[key.replace(f"{PART}.0._u", f"{PART}.original")].double().flatten(1)
        u, v = (tensors[key[:-1] + side].double() for side in "uv")
        found[key.removesuffix(f"{PART}.0._u")] = 1 - (u @ weight @ v / torch.linalg.svdvals(weight)[0]).item()
    return found


def judge(run: Path) -> dict[str, Any]:
    """The lag of the worst layer, and how many layers there are."""
    found = lags(run)
    worst = max(found, key=lambda layer: abs(found[layer]))
    return {"lag": found[worst], "worst": worst, "layers": len(found)}


def text(done: dict[str, dict[str, Any]]) -> str:
    """A line per finished row."""
    head = ["command", "layers", "share of σ₁ that the worst layer misses", "seconds"]
    found = [(row, done[row.key]) for row in rows() if row.key in done]
    return markdown(
        head, [[f"`{one['command']}`", one["layers"], f"{one['lag']:.1e}", one["seconds"]] for _, one in found]
    )


if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("spectral_norm", rows(), judge), text)
