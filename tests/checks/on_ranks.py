"""Launched by torchrun: play every case on these ranks, in one process group, and write down what came of it."""

import os
import sys

import torch
from safetensors.torch import save_file

from simulacra.distributed import Ranks, process_group
from tests.checks.cases import CASES
from tests.checks.playing import Playing

STEPS = 10


def main(place: str) -> None:
    """Rank r writes `place`/r.safetensors: each case's tensors after STEPS steps, under its name."""
    torch.set_num_threads(1)
    with process_group(torch.device("cpu")):
        found = {}
        for case in CASES:
            playing = Playing(case, Ranks()).play(STEPS)
            own = {
                f"{case.name}:own/{n}/{k}": v
                for n, p in playing.players.items()
                for k, v in p.module.named_parameters()
            }
            found |= {name: value.detach().clone() for name, value in own.items()}
            found |= {f"{case.name}:all/{name}": value for name, value in playing.all().items()}
        save_file(found, f"{place}/{Ranks().rank}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1])
    os._exit(0)  # torch may abort in Python's farewell: see `simulacra.cli`
