"""The same recipes on other data, with no change of code: Fashion-MNIST, a folder of photographs, a non-square one.

    SIMULACRA_DATA=... python benchmarks/gallery.py --out FOLDER [--pictures docs/images]

Trains *vae* and *dcgan* on each (about fifteen minutes on 2 cores), prints command and time, copies the pictures.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

RUNS = {
    "fashion": ["--data", "fashion_mnist"],
    "flowers": ["--data", "folder:{flowers}", "--size", "64", "--mirror"],
    "flowers-48x32": ["--data", "folder:{flowers}", "--size", "48x32", "--mirror"],
}
BUDGETS = {
    ("vae", "fashion"): ["--steps", "6000"],
    ("vae", "flowers"): ["--steps", "1200"],
    ("vae", "flowers-48x32"): ["--steps", "1500"],
    ("dcgan", "fashion"): ["--steps", "2000"],
    ("dcgan", "flowers"): ["--steps", "1500", "--width", "32"],
    ("dcgan", "flowers-48x32"): ["--steps", "2000", "--width", "32"],
}


def flowers(place: Path) -> Path:
    """The flower photographs as a folder."""
    with zipfile.ZipFile(Path(os.environ["SIMULACRA_DATA"]) / "tf_flowers" / "flower_photos_96.zip") as bundle:
        bundle.extractall(place)
    return place / "flower_photos"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args()
    folder = flowers(given.out / "data")
    for (recipe, name), budget in BUDGETS.items():
        out = given.out / f"{recipe}-{name}"
        words = [word.format(flowers=folder) for word in RUNS[name]]
        command = ["train", recipe, *words, *budget, "--out", str(out), "--quiet"]
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "simulacra", *command], check=True)
        shown = " ".join(command).replace(str(folder), "flower_photos").replace(str(given.out), "runs")
        print(f"simulacra {shown}: {time.monotonic() - began:.0f} s", flush=True)
        if given.pictures:
            shutil.copy(out / "model" / "samples.png", given.pictures / f"{recipe}-{name}.png")
            photographs = "flowers" in name  # reconstructions show the originals, and some of those show people
            for picture in [] if photographs else sorted(out.glob("previews/reconstructions-*.png"))[-1:]:
                shutil.copy(picture, given.pictures / f"{recipe}-{name}-reconstructions.png")


if __name__ == "__main__":
    main()
