"""Digits of one collection read with labels of the other: CoGAN from MNIST to USPS and back.

    SIMULACRA_DATA=... python -m benchmarks.cogan [--out runs] [--jobs 2] [--only mnist-usps-cogan ...] [--plan]

Protocol: 2000 training images of MNIST and 1800 of USPS, 28 × 28, drawn by the seed; no label of the target is used to
train or to stop; accuracy on the target's official test set, at the last step; five draws. USPS's digits fill their
16 × 16 pixels, MNIST's a box of 20 × 20 in 28 × 28, so USPS is resized to 20 × 20 and given a margin: the one of
16 … 28 that brings the mean image of USPS nearest to that of MNIST (`nearest_side`, of all training images and no
label; the authors' code chooses a margin in this way). What the margin does is told by the last method. Source alone:
the same discriminator, taught by the source's labels, reads the target by the source's first layer.

Steps, batches, rates, L2 of 5·10⁻⁴ and the weights of both terms are those of the authors' published code for these
counts of images (its first version, in Caffe, takes 30 000 steps of 128). The generators have 32 channels next to the
image where the paper's have 128; images are in [-1, 1] where theirs are in [0, 1].

What was looked at on test images before: draw 0 after 4 000 steps, .911 and .842 without L2, .845 from USPS to MNIST
with it. So draws 1 to 5 are the table's.
"""

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib
import numpy as np
import torch
from torch.nn.functional import interpolate, pad

import simulacra
from benchmarks.tables import ROOT, Row, Table, arguments, chosen, draw_images, markdown, plan, write
from simulacra.data import open_data
from simulacra.data.batch import to_unit
from simulacra.settings import parse_size

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STEPS, DRAWS, SIZE, BOX = 10_000, range(1, 6), 28, 20
PICTURE, PAIRS, COLUMNS = ROOT / "docs" / "images" / "cogan.png", 48, 8
COUNT = {"mnist": "2000", "usps": "1800"}
DIRECTIONS = (("mnist", "usps"), ("usps", "mnist"))
METHODS = {
    "cogan": {"width": "32"},
    "source alone": {"adversarial": "false"},
    "source alone, no margin": {"adversarial": "false"},
}
PAPER = {("mnist", "usps"): (".912 ± .008", ".752 ± .016"), ("usps", "mnist"): (".891 ± .008", ".571 ± .017")}
"""Published accuracies: CoGAN's, and of the source alone (Tzeng et al. 2017, with other networks)."""


def rows(folder: Path = Path("runs/cogan")) -> list[Row]:
    """Both directions and all methods, draw by draw; USPS with its margin lies in `folder`."""
    return [_row(*way, method, draw, folder) for draw in DRAWS for method in METHODS for way in DIRECTIONS]


def _key(source: str, target: str, method: str, draw: int) -> str:
    return f"{source}-{target}-{method.replace(', ', '-').replace(' ', '-')}-{draw}"


def _row(source: str, target: str, method: str, draw: int, folder: Path) -> Row:
    words = {"mnist": "mnist", "usps": "usps" if method.endswith("no margin") else f"npz:{_file(folder)}"}
    run = {"size": str(SIZE), "rows": COUNT[source], "beside": words[target], "beside_rows": COUNT[target]}
    return Row(_key(source, target, method, draw), "cogan", words[source], STEPS, METHODS[method], draw, run)


def _file(folder: Path) -> Path:
    return folder / "usps.npz"


def prepare(folder: Path) -> None:
    """Write USPS with its margin, both splits."""
    arrays: dict[str, Any] = {"class_names": np.array(list("0123456789"))}
    for split, prefix in (("train", ""), ("test", "test_")):
        source = open_data("usps", split=split, size=(BOX, BOX))
        assert source.labels is not None
        arrays |= {f"{prefix}images": _framed(source.data).numpy()[:, 0], f"{prefix}labels": source.labels.numpy()}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(_file(folder), **arrays)


def _framed(images: Any) -> torch.Tensor:
    """Images in the middle of `[..., 28, 28]`."""
    before = (SIZE - images.shape[-1]) // 2
    after = SIZE - images.shape[-1] - before
    return pad(images, (before, after, before, after))


def nearest_side() -> int:
    """The side in pixels at which the mean image of USPS's training images is nearest to MNIST's, without a label."""
    mnist, usps = (open_data(word).data.float().mean(0, keepdim=True) for word in ("mnist", "usps"))  # type: ignore[union-attr]
    sides = range(16, SIZE + 1)
    apart = [(_framed(interpolate(usps, size=(s, s), mode="bicubic")) - mnist).square().mean() for s in sides]
    return sides[int(torch.stack(apart).argmin())]


def judge(run: Path) -> dict[str, Any]:
    """Accuracy of the finished run on the target's test set."""
    record = json.loads((run / "recipe.json").read_text())
    target = open_data(record["beside"]["word"], split="test", size=parse_size(record["run"]["size"]))
    model: Any = simulacra.load(run)
    classify = model.classify if record["options"]["adversarial"] else model.classify_first
    assert target.labels is not None
    assert isinstance(target.data, torch.Tensor)
    said = classify(to_unit(target.data)).argmax(1).cpu()
    return {"accuracy": (said == target.labels).double().mean().item(), "images": len(target)}


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per direction and method."""
    found = []
    for way in DIRECTIONS:
        for method in METHODS:
            keys = [_key(*way, method, draw) for draw in DRAWS]
            if draws := [done[key] for key in keys if "accuracy" in done.get(key, {})]:
                found.append(_line(way, method, draws))
    return found


def _line(way: tuple[str, str], method: str, draws: list[dict[str, Any]]) -> list[object]:
    each = [draw["accuracy"] for draw in draws]
    ours = f"{mean(each):.3f}" + (f" ± {stdev(each):.3f}" if len(each) > 1 else "")
    all_of_them, seconds = ", ".join(f"{one:.3f}" for one in each), round(mean(draw["seconds"] for draw in draws))
    published = PAPER[way][method != "cogan"]
    return [" → ".join(way), method, ours, published, all_of_them, seconds, f"`{draws[0]['command']}`"]


def picture(folder: Path) -> None:
    """Draw pairs of each direction's first draw, if both are there."""
    runs = [folder / _key(*way, "cogan", DRAWS[0]) for way in DIRECTIONS]
    if not all((run / "model").exists() for run in runs):
        return
    figure, axes = plt.subplots(1, len(runs), figsize=(12, 2.6), layout="constrained")
    for place, run, way in zip(axes, runs, DIRECTIONS):
        model: Any = simulacra.load(run)
        draw_images(place, torch.cat(model.pairs(PAIRS).unbind(1), -1), COLUMNS, title=" and ".join(way))
    figure.savefig(PICTURE, dpi=90)
    plt.close(figure)


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table, and the figure where it was drawn."""
    head = ["from → to", "method", "accuracy", "published", "each draw", "seconds", "command of the first"]
    shown = '<img src="images/cogan.png" width="860" alt="pairs of digits, one of each domain">'
    return "\n\n".join([markdown(head, lines(done)), *([shown] if PICTURE.exists() else [])])


def main() -> None:
    given = arguments(__doc__).parse_args()
    folder = given.out / "cogan"
    todo, table = chosen(rows(folder), given.only), Table("cogan", rows(folder), judge)
    if not given.show:
        prepare(folder)
    if given.plan:
        print(f"the mean image of USPS is nearest to MNIST's at a side of {nearest_side()} pixels")
        return plan(todo)
    if not given.show:
        table.run(folder, given.jobs, todo, given.seconds)
        picture(folder)
    write("cogan", text(table.done()))


if __name__ == "__main__":
    main()
