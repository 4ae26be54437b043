"""What *infogan*'s codes come to mean on MNIST, of which it sees no label: five seeds.

    SIMULACRA_DATA=... python -m benchmarks.infogan [--out runs] [--jobs 2] [--only infogan-0 ...] [--plan] [--show]

Each row is `simulacra train infogan` with its codes of one category of ten and two continuous numbers, 62 of noise, its
λ (1 and 0.1) and its rates (10⁻³ and 2·10⁻⁴), on DCGAN's networks of base width 32, batches of 64, for 10 000 steps
(76 % of the recipe's own budget, which is of width 64; 10.7 passes over the data). Nothing was tuned, and no seed left
out. Judged at the last step, the average of the generator's weights: 1 000 samples of each value of the categorical
code, noise and continuous codes drawn, are read by the classifier `mnist` (99.57 % on test images). Purity is the
share of samples that show the most frequent digit of their category, about 0.12 for codes without meaning. A
generator that makes one digit only has purity 1, so the number of different digits among the ten majorities stands
beside it; both are 10 and 1 where codes are digits.

Chen et al. (2016, section 7.2) have no purity: they use the categorical code's predictor as a classifier of test
images, which errs in 5 % of them. Here the predictor is not kept with the model. Their networks have 64
and 128 channels and a layer of 1024 units in each player.

The figure shows seed 0: one category per row; ten draws of the noise, then one noise with either continuous code from
-2 to 2 and the other at 0 (the codes are trained on -1 to 1, as in the paper, whose figure 2 goes as far).
"""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import torch
from torch import Tensor

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, curve, draw_images, markdown
from simulacra.features.catalogue import find_extractor
from simulacra.images import to_uint8
from simulacra.models.infogan import InfoGAN

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STEPS, SEEDS, EACH, COLUMNS, FAR = 10_000, 5, 1_000, 10, 2.0
WATCH = {"evaluate": "fid", "evaluate_features": "mnist", "evaluate_every": str(STEPS // 10)}
PICTURE = ROOT / "docs" / "images" / "infogan.png"
BAR = 0.9
TITLES = ("ten draws of the noise", "first continuous code, -2 to 2", "second continuous code, -2 to 2")
HEAD = ["seed", "purity", "different digits", "digit of each category", "FID every 1000 steps", "seconds", "command"]


def rows() -> list[Row]:
    """Seed by seed."""
    return [Row(f"infogan-{seed}", "infogan", "mnist", STEPS, {"width": "32"}, seed, WATCH) for seed in range(SEEDS)]


class Purity(NamedTuple):
    """How far categories are digits: the `share` of samples with the majority's digit, and these `digits`."""

    share: float
    digits: tuple[int, ...]


def purity(read: Tensor) -> Purity:
    """Of the digits read, int64 `[categories, samples]`; of equally frequent ones the smallest counts."""
    counts = torch.stack([torch.bincount(digits, minlength=10) for digits in read])
    return Purity(counts.amax(1).sum().item() / read.numel(), tuple(counts.argmax(1).tolist()))


def read_categories(model: InfoGAN, each: int) -> Tensor:
    """The digits that `mnist` reads in `each` samples of every category, int64 `[categories, each]`."""
    extractor = find_extractor("mnist", model.spec)
    found = []
    for category in range(model.config.categories):
        z, _, continuous = drawn(model, each, seed=category)
        x = model.decode(model.coded(z, torch.full((each,), category), continuous))
        found.append(extractor(to_uint8(x.cpu())).logits.argmax(1))  # type: ignore[reportOptionalMemberAccess]
    return torch.stack(found)


def drawn(model: InfoGAN, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, one-hot categories and continuous codes of n samples."""
    config = model.config
    z, category, continuous = model.prior(n, seed=seed).split([config.latent, config.categories, config.continuous], 1)
    return z, category, continuous


def judge(run: Path) -> dict[str, Any]:
    """Purity, the majorities' digits, and FID along the training."""
    model: Any = simulacra.load(run)
    found = purity(read_categories(model, EACH))
    return {"purity": found.share, "digits": found.digits, "curve": curve(run, "fid")}


def panels(model: InfoGAN) -> list[Tensor]:
    """The figure's three sheets, each of a row per category: images `[categories · COLUMNS, 1, H, W]`."""
    return [model.decode(_sheet(model, varied)).cpu() for varied in (None, 0, 1)]


def _sheet(model: InfoGAN, varied: int | None) -> Tensor:
    """Latents of ten noises, or of one noise with the continuous code number `varied` from -2 to 2."""
    count, z = model.config.categories, drawn(model, COLUMNS, seed=0)[0]
    codes = torch.zeros(COLUMNS, model.config.continuous)
    if varied is not None:
        z, codes[:, varied] = z[:1].expand(COLUMNS, -1), torch.linspace(-FAR, FAR, COLUMNS)
    category = torch.arange(count).repeat_interleave(COLUMNS)
    return model.coded(z.repeat(count, 1), category, codes.repeat(count, 1))


def picture(folder: Path) -> None:
    """Draw the figure, if seed 0 is there."""
    if not (folder / "infogan-0" / "model").exists():
        return
    model: Any = simulacra.load(folder / "infogan-0")
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.5))
    for place, title, sheet in zip(axes, TITLES, panels(model)):
        draw_images(place, sheet, COLUMNS, title=title)
    figure.tight_layout(pad=0.8)
    figure.savefig(PICTURE, dpi=90)
    plt.close(figure)


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per seed."""
    found = []
    for row in rows():
        if (ours := done.get(row.key)) and "purity" in ours:
            path = " ".join(f"{value:.3g}" for _, value in ours["curve"])
            digits = ours["digits"]
            said = f"{ours['purity']:.3f}", len({*digits}), " ".join(map(str, digits))
            found.append([row.seed, *said, path, ours["seconds"], f"`{ours['command']}`"])
    return found


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table, how many seeds reach the bar, and the figure."""
    found = [(row["purity"], len({*row["digits"]})) for row in done.values() if "purity" in row]
    reached = [digits for share, digits in found if share >= BAR]
    whole = sum(digits == 10 for digits in reached)
    said = (
        f"Purity {BAR} or more: {len(reached)} of {len(found)} seeds (bar: 3 of 5), {whole} with ten different digits."
    )
    shown = '<img src="images/infogan.png" width="860" alt="one category per row: noise, first code, second code">'
    return "\n\n".join([markdown(HEAD, lines(done)), said, *([shown] if PICTURE.exists() else [])])


def main() -> None:
    conduct(__doc__, lambda out: Table("infogan", rows(), judge), text, finish=picture)


if __name__ == "__main__":
    main()
