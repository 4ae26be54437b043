"""The MNIST rows of docs/results.md, from a finished run.

    python -m benchmarks.judge_mnist RUN [--pictures FOLDER]

A model with a bound on log p(x): test −ELBO in nats on all 10 000 test images, binarised once (seed 0), one latent
each.
A model that samples: the entropy of the classes that the extractor *mnist* names on 10 000 samples (seed 0), and its
mean confidence, beside its confidence on real test images and on uniform noise.
"""

import argparse
import json
from pathlib import Path

import torch

import simulacra
from benchmarks.digits import read_digits
from simulacra.capabilities import HasLogProb, Reconstructs
from simulacra.data import Batch, Feed, open_data
from simulacra.images import write_grid


def test_batch() -> Batch:
    source = open_data("mnist", split="test")
    return Feed(source, seed=0, batch=len(source), full_passes=True).at(0)


def likelihood(model, x: torch.Tensor) -> dict:
    value, kind = model.log_prob(x, seed=0)
    standard_error = (value.std() / len(value) ** 0.5).item()
    return {"minus_log_prob": -value.mean().item(), "standard_error": standard_error, "kind": kind, "images": len(x)}


def classes(model, test: Batch) -> dict:
    rows = {"samples": model.sample(10_000, seed=0), "real": test.x, "noise": 2 * torch.rand(10_000, 1, 28, 28) - 1}
    found = {name: read_digits(model, x) for name, x in rows.items()}
    share = torch.bincount(found["samples"].argmax(1), minlength=10) / len(found["samples"])
    return {
        "entropy_nats": -(share * share.clamp_min(1e-12).log()).sum().item(),
        "shares": [round(s, 4) for s in share.tolist()],
        "confidence": {name: p.max(1).values.mean().item() for name, p in found.items()},
        "classifier_accuracy": (found["real"].argmax(1) == test.labels).double().mean().item(),
    }


def pictures(model, x: torch.Tensor, folder: Path, name: str) -> None:
    simulacra.write(model.sample(64, seed=0).cpu(), folder / f"{name}-samples.png", model.spec)
    if isinstance(model, Reconstructs):
        pairs = zip(x[:32].split(8), model.reconstruct(x[:32]).cpu().split(8))
        rows = torch.cat([rows for pair in pairs for rows in pair])
        write_grid(rows, folder / f"{name}-reconstructions.png", columns=8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--name")
    given = parser.parse_args()
    model, test = simulacra.load(given.run), test_batch()
    torch.manual_seed(0)
    likely = likelihood(model, test.x) if isinstance(model, HasLogProb) else {}
    print(json.dumps(likely | classes(model, test), indent=1))
    if given.pictures:
        pictures(model, test.x, given.pictures, given.name or Path(given.run).name)


if __name__ == "__main__":
    main()
