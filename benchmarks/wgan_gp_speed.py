"""What a gradient penalty costs: the step of WGAN-GP through the kernel against the same one by hand, and what a lazy
R1 saves.

    python benchmarks/wgan_gp_speed.py [--width 32] [--batch 64]

Both in one process, in float32, on DCGAN's networks without batch norm in the critic, 32 × 32 grey: median of paired
blocks that alternate. The step is one critic step with penalty and one generator step, on two batches.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

from simulacra.data import Spec
from simulacra.data.batch import Batch
from simulacra.game import Clock, Game, Player, Table
from simulacra.models.gan import GAN
from simulacra.recipes import find

SPEC = Spec(kind="image", shape=(1, 32, 32), classes=None)
PENALISED = {"objective": "wasserstein", "gradient_penalty": 10.0}
BLOCKS, STEPS = 9, 6


def rows(batch: int) -> Batch:
    """Made-up images."""
    x = torch.rand(batch, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(x=x, labels=None, index=torch.arange(batch), start=0, joint=batch, pass_end=False)


def game(width: int, **options: object) -> tuple[Game, Mapping[str, Player]]:
    """The recipe's game, and its players."""
    torch.manual_seed(0)
    kind = find("dcgan")
    given = {"width": width, "discriminator_norm": "none", "average": None, **options}
    plan = kind.build(SPEC, 1000, kind.options().with_overrides(given, "dcgan"))
    return plan.stages[0].game, plan.players


def ours(played: Game, batch: int) -> Callable[[int], object]:
    """A step through the kernel."""
    images, table = rows(batch), Table()
    return lambda step: played.step(lambda k: images, Clock(step=step), table)


def by_hand(players: Mapping[str, Player], batch: int) -> Callable[[int], object]:
    """The same step as people write it: fused Adam, one critic update with penalty, one generator update."""
    critic, model = players["discriminator"].module, players["generator"].module
    assert isinstance(model, GAN)
    x = rows(batch).x
    optimizers = [torch.optim.Adam(m.parameters(), 2e-4, (0.5, 0.999), fused=True) for m in (critic, model)]

    def step(_: int) -> None:
        with torch.no_grad():
            fake = model.generator(torch.randn(batch, 100))
        between = torch.rand(batch, 1, 1, 1)
        mixed = (between * x + (1 - between) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        penalty = 10 * (gradient.flatten(1).norm(dim=1) - 1).square().mean()
        loss = critic(fake).mean() - critic(x).mean() + penalty
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        for parameter in critic.parameters():
            parameter.requires_grad_(False)
        loss = -critic(model.generator(torch.randn(batch, 100))).mean()
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        for parameter in critic.parameters():
            parameter.requires_grad_(True)

    return step


def timed(ways: Mapping[str, Callable[[int], object]], steps: int) -> dict[str, float]:
    """Milliseconds per step of each way: medians over blocks that take turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        for step in range(3):
            way(step)
    for _ in range(BLOCKS):
        for name, way in ways.items():
            began = time.perf_counter()
            for step in range(steps):
                way(step)
            found[name].append((time.perf_counter() - began) / steps * 1e3)
    return {name: median(times) for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args()

    def kernel(**options: object) -> Callable[[int], object]:
        return ours(game(given.width, **options)[0], given.batch)

    found = timed({"by hand": by_hand(game(given.width)[1], given.batch), "kernel": kernel(**PENALISED)}, STEPS)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {given.batch}, width {given.width}")
    print({name: f"{ms:.1f} ms" for name, ms in found.items()})
    print(f"WGAN-GP: {found['kernel'] / found['by hand']:.3f} of the time by hand")
    lazy = {"bare": kernel(), "every step": kernel(r1=1.0, r1_every=1), "every 16": kernel(r1=1.0, r1_every=16)}
    found = timed(lazy, 16)
    print({name: f"{ms:.1f} ms" for name, ms in found.items()})
    saved = 1 - (found["every 16"] - found["bare"]) / (found["every step"] - found["bare"])
    print(f"R1 every 16 steps removes {saved:.1%} of the penalty's time")


if __name__ == "__main__":
    main()
