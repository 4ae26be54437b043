"""`Game.step` against the same step written by hand: an autoencoder 784-512-784, batch 128, fused Adam, NaN guard on.

python benchmarks/kernel_overhead.py
"""

import statistics
import time

import torch
from torch import nn

from simulacra.data import Batch
from simulacra.game import Clock, Game, Player
from simulacra.optimizers import Adam

BLOCKS, STEPS = 15, 100


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 784))


def main() -> None:
    torch.manual_seed(1)
    x = torch.rand(128, 784)
    ours, theirs = network(), network()
    batch = Batch(x=x, labels=None, index=torch.arange(128), start=0, joint=128, pass_end=False)
    game = Game.single(
        Player(name="autoencoder", module=ours, optimizer=Adam(lr=1e-3)),
        lambda batch, at: {"mse": (ours(batch.x) - batch.x).square().mean()},
    )
    optimizer = torch.optim.Adam(theirs.parameters(), 1e-3, fused=True)

    def by_hand() -> float:
        optimizer.zero_grad()
        loss = (theirs(x) - x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    def by_game() -> float:
        return game.step(lambda k: batch, Clock())["autoencoder/mse"]

    times: dict[str, list[float]] = {"hand": [], "game": []}
    for block in range(BLOCKS + 1):
        for name, step in (("hand", by_hand), ("game", by_game)):
            began = time.perf_counter()
            for _ in range(STEPS):
                last = step()
            times[name].append((time.perf_counter() - began) / STEPS) if block else None
    assert by_hand() == by_game(), last
    ratios = [g / h for g, h in zip(times["game"], times["hand"])]
    hand, game_ = (1e3 * statistics.median(values) for values in times.values())
    print(f"by hand {hand:.3f} ms, game {game_:.3f} ms a step: overhead {100 * (statistics.median(ratios) - 1):.1f} %")
    print(f"median of {BLOCKS} paired blocks of {STEPS} steps; both losses equal bit for bit after all of them")


if __name__ == "__main__":
    main()
