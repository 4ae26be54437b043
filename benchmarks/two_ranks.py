"""Two ranks against one with the joint batch: the largest difference of any parameter after 50 Adam steps.

    python benchmarks/two_ranks.py

A per-sample GAN with EMA and a lazy penalty in float64 and float32, and a DCGAN with batch norm, whose ranks must stay
equal to each other. The process launches itself under torchrun.
"""

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from simulacra import checkpoint
from simulacra.data import Feed, open_data
from simulacra.distributed import Ranks, process_group
from simulacra.game import Clock, Table
from simulacra.recipes import find

STEPS, BATCH = 50, 32
GAMES = {"gan": {"width": 64, "r1": 1.0, "r1_every": 4}, "dcgan": {"width": 8, "r1": 1.0, "r1_every": 4}}


def play(name: str, dtype: torch.dtype, table: Table) -> dict[str, torch.Tensor]:
    """Everything the game has changed after STEPS steps; `own/…` is this rank's before anything is averaged."""
    torch.set_default_dtype(dtype)
    torch.manual_seed(0)
    kind, source = find(name), open_data("digits")
    plan = kind.build(source.spec, len(source), kind.options(**GAMES[name]))
    torch.set_default_dtype(torch.float32)
    game = plan.stages[0].game
    feed = Feed(source, seed=0, batch=BATCH, rank=table.rank, ranks=table.size)
    for step in range(STEPS):
        batch = feed.at(step)
        batch = replace(batch, x=batch.x.to(dtype))
        game.step(lambda k, batch=batch: batch, Clock(seed=1, step=step, progress=step / STEPS), table)
    own = {f"own/{n}/{k}": v.detach().clone() for n, p in plan.players.items() for k, v in p.module.named_parameters()}
    return own | checkpoint.collect(plan.players, game, table)


def on_ranks(place: str) -> None:
    torch.set_num_threads(1)
    with process_group(torch.device("cpu")):
        for name in GAMES:
            for dtype in (torch.float64, torch.float32):
                save_file(play(name, dtype, Ranks()), f"{place}/{name}-{dtype}-{Ranks().rank}.safetensors")


def main() -> None:
    if len(sys.argv) > 1:
        return on_ranks(sys.argv[1])
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        launch = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            __file__,
            place,
        ]
        subprocess.run(launch, check=True)
        for name in GAMES:
            for dtype in (torch.float64, torch.float32):
                ours, theirs = (load_file(Path(place) / f"{name}-{dtype}-{rank}.safetensors") for rank in range(2))
                same = all(torch.equal(ours[key], theirs[key]) for key in ours if key.startswith("own/"))
                alone = play(name, dtype, Table())
                drift = max((ours[key].double() - alone[key].double()).abs().max().item() for key in ours)
                print(f"{name:6} {dtype!s:14} ranks identical: {same}   largest difference from one rank: {drift:.2e}")


if __name__ == "__main__":
    main()
