"""How well the σ that a spectrally normalised discriminator divides by is its σ₁, after training.

    python benchmarks/spectral_norm.py RUN [RUN ...]

For every normalised layer in a run's newest checkpoint: 1 − uᵀWv / σ₁, σ₁ by singular value decomposition in float64.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

PART = ".parametrizations.weight"


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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path, nargs="+")
    for run in parser.parse_args().runs:
        found = lags(run)
        print(f"{run}: {len(found)} layers, at most {max(map(abs, found.values())):.1e}")
        for name, lag in found.items():
            print(f"  {name}: {lag:.1e}")


if __name__ == "__main__":
    main()
