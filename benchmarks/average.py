"""Does the moving average of the weights help? A run's newest checkpoint judged twice: raw and averaged.

    python -m benchmarks.average RUN

For a run of a generator on MNIST: entropy of the classes that the extractor *mnist* names on 10 000 samples (seed 0),
and its mean confidence, of the raw weights with the running statistics they were trained with, and of the average with
statistics re-estimated for it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.digits import read_digits
from simulacra import checkpoint
from simulacra.artifact import load
from simulacra.ema import statistics_reestimated


def judge(model: Any) -> dict[str, float]:
    found = read_digits(model, model.sample(10_000, seed=0))
    share = torch.bincount(found.argmax(1), minlength=10) / len(found)
    entropy = -(share * share.clamp_min(1e-12).log()).sum().item()
    return {"entropy_nats": round(entropy, 4), "confidence": round(found.max(1).values.mean().item(), 4)}


def main() -> None:
    run = Path(sys.argv[1])
    newest = checkpoint.read(checkpoint.listed(run / "checkpoints")[-1])
    model = load(run)
    prefix = "player/generator/"
    raw = {key.removeprefix(prefix): value for key, value in newest.tensors.items() if key.startswith(prefix)}
    model.load_state_dict(raw)
    print(f"step {newest.facts['step']}, {newest.facts['seconds']:.0f} s of training")
    print("raw weights     ", json.dumps(judge(model)))
    for k, parameter in enumerate(model.parameters()):
        parameter.data.copy_(newest.tensors[f"average/generator/{k}"])
    with statistics_reestimated(model, model.training_passes(0)):
        print("averaged weights", json.dumps(judge(model)))


if __name__ == "__main__":
    main()
