"""Training steps against a tutorial's loop, in one process: five alternating blocks each, the median.

    python benchmarks/throughput.py [--device cuda]

The tutorial decodes PIL images through Resize, ToTensor and Normalize in a DataLoader with 2 workers, trains in float32
with the default memory format, and reuses its fakes for the generator, as DCGAN tutorials do. Ours is the recipe's
game, fed by its feed, in float32 and with the defaults. Both train the same networks, batch 64: *dcgan* of base width
64 on 1 × 32 × 32, and *gan* of 2 × 256 on 1 × 28 × 28.
"""

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from simulacra.data import Feed, open_data
from simulacra.game import Clock, Table
from simulacra.models.gan import GAN
from simulacra.precision import autocast, choose_device, choose_precision
from simulacra.recipes import Plan, find
from simulacra.session import build, has_convolutions

BLOCKS, BATCH, IMAGES = 5, 64, 4096


def tutorial_data(folder: Path, size: int) -> Callable[[], Iterator[torch.Tensor]]:
    """An endless stream of batches, as a tutorial would write it, from PNG files in `folder`."""
    pipeline = transforms.Compose(
        [
            transforms.Grayscale(),
            transforms.Resize(size),
            transforms.ToTensor(),
            transforms.Normalize((0.5,), (0.5,)),
        ]
    )
    loader = DataLoader(ImageFolder(str(folder), pipeline), BATCH, shuffle=True, num_workers=2, drop_last=True)

    def stream() -> Iterator[torch.Tensor]:
        while True:
            for x, _ in loader:
                yield x

    return stream


def tutorial_step(
    generator: nn.Module, critic: nn.Module, latent: int, device: torch.device
) -> Callable[[torch.Tensor], None]:
    """The step of a DCGAN tutorial."""
    loss = nn.BCEWithLogitsLoss()
    steppers = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (critic, generator)]

    def step(x: torch.Tensor) -> None:
        x = x.to(device)
        ones, zeros = torch.ones(len(x), 1, device=device), torch.zeros(len(x), 1, device=device)
        critic.zero_grad()
        loss(critic(x), ones).backward()
        fake = generator(torch.randn(len(x), latent, device=device))
        loss(critic(fake.detach()), zeros).backward()
        steppers[0].step()
        generator.zero_grad()
        error = loss(critic(fake), ones)
        error.backward()
        steppers[1].step()
        error.item()

    return step


def write_pngs(source, folder: Path) -> None:
    """The first images as files, one folder a class."""
    for i in range(IMAGES):
        place = folder / str(int(source.labels[i])) / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.rows(np.array([i]))[0, 0].numpy()).save(place)


def seconds(step: Callable[[], None], count: int, device: torch.device) -> float:
    """Seconds a step over `count` steps."""
    began = time.perf_counter()
    for _ in range(count):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


def ours(name: str, size: int, precision: str, options: dict, device: torch.device) -> tuple[Callable[[], None], Plan]:
    kind, source = find(name), open_data("mnist", size=(size, size))
    plan = build(kind, source, kind.options(**options), 0, device)
    game = plan.stages[0].game
    images = any(has_convolutions(player.module) for player in game.players.values())
    feed = Feed(source, seed=0, batch=BATCH, device=device, channels_last=images)
    table, count = Table(precision=autocast(choose_precision(precision, device), device)), iter(range(10**9))

    def step() -> None:
        number = next(count)
        game.step(lambda k: feed.at(number + k), Clock(step=number), table)

    return step, plan


def compare(name: str, size: int, options: dict, count: int, device: torch.device) -> None:
    source = open_data("mnist")
    with tempfile.TemporaryDirectory() as folder:
        write_pngs(source, Path(folder))
        contenders: dict[str, Callable[[], None]] = {}
        for precision in ("float32", "auto"):
            contenders[precision], plan = ours(name, size, precision, options, device)
        nets = {n: copy.deepcopy(p.module).to(memory_format=torch.contiguous_format) for n, p in plan.players.items()}
        batches = tutorial_data(Path(folder), size)()
        model = nets["generator"]
        assert isinstance(model, GAN)
        play = tutorial_step(model.generator, nets["discriminator"], model.config.latent, device)
        contenders = {"tutorial": lambda: play(next(batches)), **contenders}
        for step in contenders.values():
            seconds(step, max(count // 2, 3), device)
        times = {key: [] for key in contenders}
        for _ in range(BLOCKS):
            for key, step in contenders.items():
                times[key].append(seconds(step, count, device))
    medians = {key: statistics.median(values) for key, values in times.items()}
    for key, value in medians.items():
        label = f"auto ({choose_precision('auto', device)})" if key == "auto" else key
        print(f"{name:6} {label:18} {1e3 * value:8.2f} ms a step   {medians['tutorial'] / value:5.2f} x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="auto")
    device = choose_device(parser.parse_args().device)
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, python {sys.version.split()[0]}")
    compare("dcgan", 32, {"width": 64}, 30, device)
    compare("gan", 28, {"width": 256, "depth": 2}, 150, device)


if __name__ == "__main__":
    main()
