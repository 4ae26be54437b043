"""Memory after step 500 of streaming 1 000 photographs, and of 200 000 hard links to them.

    python benchmarks/streaming_memory.py

Memory is the proportional set size (PSS) of the process and its workers together, and their resident size (RSS) beside.
"""

import os
import sys
import tempfile
import zipfile
from pathlib import Path

import psutil

from simulacra.data import Feed, open_data
from simulacra.game import Clock, Table
from simulacra.precision import autocast, choose_device, choose_precision
from simulacra.recipes import find
from simulacra.session import build

STEPS, LINKS, PHOTOGRAPHS = 500, 200_000, 1_000
SMALL = {"width": 8, "batch": 16}


def photographs(place: Path) -> Path:
    """A thousand flowers as files in one folder."""
    archive = Path(os.environ["SIMULACRA_DATA"]) / "tf_flowers" / "flower_photos_96.zip"
    few = place / "few"
    few.mkdir()
    with zipfile.ZipFile(archive) as bundle:
        names = [name for name in bundle.namelist() if name.endswith(".jpg")]
        for number, name in enumerate(names[:: len(names) // PHOTOGRAPHS][:PHOTOGRAPHS]):
            (few / f"{number:04d}.jpg").write_bytes(bundle.read(name))
    return few


def links(few: Path, place: Path) -> Path:
    """Hard links to them, over and over."""
    files = sorted(few.iterdir())
    many = place / "many"
    for number in range(LINKS):
        folder = many / f"{number // 1000:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(files[number % len(files)], folder / f"{number:06d}.jpg")
    return many


def measure(folder: str) -> None:
    """Train in this process, then print the megabytes."""
    device, kind = choose_device("cpu"), find("dcgan")
    source = open_data(f"folder:{folder}", size=(32, 32), stream=True)
    plan = build(kind, source, kind.options(**SMALL), 0, device)
    feed = Feed(source, seed=0, batch=SMALL["batch"], workers=2, channels_last=True)
    table = Table(precision=autocast(choose_precision("auto", device), device))
    for step in range(STEPS):
        plan.stages[0].game.step(lambda k, step=step: feed.at(step), Clock(step=step), table)
    everyone = [psutil.Process(), *psutil.Process().children(recursive=True)]
    infos = [process.memory_full_info() for process in everyone]
    pss, rss = (sum(getattr(info, kind) for info in infos) / 2**20 for kind in ("pss", "rss"))
    print(f"{len(source):8,} images, {len(everyone)} processes: PSS {pss:7.0f} MB, RSS {rss:7.0f} MB", flush=True)
    feed.close()


def main() -> None:
    if len(sys.argv) > 1:
        return measure(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        few = photographs(Path(folder))
        for each in (few, links(few, Path(folder))):
            os.spawnl(os.P_WAIT, sys.executable, sys.executable, __file__, str(each))


if __name__ == "__main__":
    main()
