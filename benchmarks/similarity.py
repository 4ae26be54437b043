"""Whether a learned likeness makes sharper pictures: *vaegan* beside *vae*, on MNIST and on faces.

    SIMULACRA_DATA=... python -m benchmarks.similarity [--out runs] [--jobs 2] [--only mnist ...] [--plan] [--show]

Convolutional networks of base width 32 and 64 latents in both, equal numbers of updates in batches of 64: 13 125 on
MNIST, *vaegan*'s own budget, 4 000 on the 320 Olivetti faces to train on, at 32 × 32. FID is of 10 000 samples against
the 60 000 training images, in the features of `mnist`. KID is of 320 samples against the 320 faces, in the features of
a classifier of the 40 people, `simulacra extractor train --data olivetti_faces --size 32`, in the folder of the runs,
which has learned these faces too; so KID of 80 samples against the 80 faces to test on stands beside. Both have
standard errors. The error of reconstructions is the mean over test images of ‖x − x̂‖² with brightness in [0, 1]; *vae*
pays for each pixel, by cross-entropy, *vaegan* for none. Nothing was tuned on either.

Counted by `--plan` on one core of an Intel Xeon: vaegan 10.9 GFLOP a step and 0.6 h on MNIST, 12.3 and 0.17 h on faces;
vae 3.1 and 0.18 h, 3.5 and 0.06 h.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, markdown
from simulacra import images
from simulacra.features.classifier import load

SHARED = {"latent": "64", "width": "32", "batch": "64"}
MODELS = {"vae": SHARED | {"network": "conv"}, "vaegan": SHARED}
GREY = {"likelihood": "gaussian", "learned_sigma": "true"}
DATA = {"mnist": (13_125, {}, {}), "olivetti_faces": (4_000, GREY, {"size": "32"})}
EXTRACTOR = "extractor train --data olivetti_faces --size 32 --epochs 100 --batch 32 --mirror"
PICTURE = ROOT / "docs" / "images" / "similarity.png"
HEAD = [
    "data", "model", "FID", "1000 · KID", "1000 · KID, test faces", "error of reconstructions", "seconds", "command",
]  # fmt: skip
SCORES = {"fid": 1, "kid": 1000, "kid_test": 1000}


def rows() -> list[Row]:
    """Both models on both sets."""
    return [
        Row(f"{data}-{model}", model, data, steps, options | (own if model == "vae" else {}), run=run)
        for data, (steps, own, run) in DATA.items()
        for model, options in MODELS.items()
    ]


def prepare(folder: Path) -> None:
    """Train the extractor of faces, where it is not there yet."""
    if not (place := folder / "faces.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = [*EXTRACTOR.split(), "--out", str(place), "--quiet"]
        subprocess.run([sys.executable, "-m", "simulacra", *words], check=True)
    print(f"faces named rightly: {load(place).record.accuracy}", flush=True)


def judge(run: Path) -> dict[str, Any]:
    """How far samples are from training images, and reconstructions from test images: [value, standard error]."""
    model: Any = simulacra.load(run)
    if run.name.startswith("mnist"):
        found = {"fid": _scored(run, "fid", features="mnist")}
    else:
        shared = {"features": str(run.parent / "faces.safetensors")}
        found = {
            "kid": _scored(run, "kid", samples=320, options=_whole(320), **shared),
            "kid_test": _scored(run, "kid", samples=80, split="test", options=_whole(80), **shared),
        }
    x = test_images(run)
    error = (0.5 * (model.reconstruct(x) - x)).square().flatten(1).sum(1)
    return found | {"error": error.mean().item()}


def _scored(run: Path, name: str, **protocol: Any) -> list[float | None]:
    score = simulacra.evaluate(run, metrics=name, quiet=True, **protocol).scores[name]
    return [score.value, score.standard_error]


def _whole(rows: int) -> dict[str, int]:
    """KID of all rows at once."""
    return {"kid.subset_size": rows, "kid.subsets": 1}


def test_images(run: Path) -> torch.Tensor:
    """Those of the run's data, in [−1, 1]."""
    data, size = run.name.split("-")[0], (32, 32) if run.name.startswith("olivetti") else None
    pixels: Any = simulacra.open_data(data, split="test", size=size).data
    return pixels / 127.5 - 1.0


def picture(folder: Path) -> None:
    """A row of samples of each model and set; for MNIST test images and reconstructions too. Of faces no photograph is
    shown, and no reconstruction of one."""
    if not all((folder / row.key / "model").exists() for row in rows()):
        return
    loaded: dict[str, Any] = {row.key: simulacra.load(folder / row.key) for row in rows()}
    x = test_images(folder / "mnist-vae")[:16]
    digits = [x, *(loaded[f"mnist-{kind}"].reconstruct(x) for kind in MODELS)]
    digits += [loaded[f"mnist-{kind}"].sample(16, seed=0) for kind in MODELS]
    faces = [loaded[f"olivetti_faces-{kind}"].sample(16, seed=0) for kind in MODELS]
    wide = [torch.nn.functional.pad(part, (2, 2, 2, 2), value=-1.0) for part in digits]
    images.write_grid(torch.cat([*wide, *faces]), PICTURE, 16)


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per model and set."""
    found = []
    for row in rows():
        if "error" in (ours := done.get(row.key, {})):
            scores = [_told(ours[name], times) if name in ours else "-" for name, times in SCORES.items()]
            error = f"{ours['error']:.2f}"
            found.append([row.data, row.recipe, *scores, error, ours["seconds"], f"`{ours['command']}`"])
    return found


def _told(score: list[float | None], times: int) -> str:
    value, error = score
    return f"{times * (value or 0.0):.2f}" + (f" ± {times * error:.2f}" if error is not None else "")


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table and the figure."""
    alt = (
        "from above: test digits, their reconstructions by vae and vaegan, samples of both; faces drawn by vae, vaegan"
    )
    shown = f'<img src="images/similarity.png" width="600" alt="{alt}">'
    return "\n\n".join([markdown(HEAD, lines(done)), *([shown] if PICTURE.exists() else [])])


if __name__ == "__main__":
    conduct(__doc__, lambda out: Table("similarity", rows(), judge), text, prepare=prepare, finish=picture)
