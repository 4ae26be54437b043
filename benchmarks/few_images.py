"""Training on 500 and on 2 000 images of Fashion-MNIST: *dcgan* bare, with differentiable and with adaptive
augmentation.

    SIMULACRA_DATA=... python -m benchmarks.few_images [--out runs] [--jobs 2] [--only 500-bare ...] [--plan] [--show]

Each row is `simulacra train dcgan --rows N`, seed 0, by which the images are drawn too: networks of base width 32, no
batch norm in the discriminator (which would tell generated from real images by their batch) but the R1 penalty, as in
the adaptive method's paper, of weight 1 every 16 steps; the non-saturating loss, Adam at 10⁻³ with β = (0.5, 0.999),
batches of 64, 10 000 steps for 500 images (1 280 passes) and 20 000 for 2 000 (640), the average of the generator's
weights. Nothing was tuned; that 2 000 images have 20 000 steps was decided after 10 000, at which every curve of theirs
still fell. "Differentiable" is DiffAugment (Zhao et al. 2020) with all its three policies, of which colour has
brightness and contrast on grey images; "adaptive" (Karras et al. 2020) has the target 0.6 and the paper's rate, 500 000
images from p = 0 to 1, with all its transformations of geometry, brightness and contrast, right for Fashion-MNIST or
not. The papers have FID of CIFAR-10 and of photographs, by larger networks on GPUs: no number compares.

KID is of 10 000 samples against the *full* training split (the first 50 000 of its 60 000 rows), in the 128 features of
a classifier trained on Fashion-MNIST's own labels, `simulacra extractor train --data fashion_mnist`, in the folder of
the runs: features of all training images, few or not. It is taken every 1 000 steps; the last one is the table's, with
its standard error, and the lowest on the way stands beside it, chosen in hindsight.

Leaks: for either augmentation a detector (the same classifier's network at half its width, two classes, 600 steps of
128 images) learns to tell training images from augmented ones, cut to [-1, 1] and rounded to bytes as all it sees;
adaptive ones are made with p = 0.5. The share that it calls augmented is shown of 5 000 samples of every model, and of
test images, plain and augmented, which say how good it is. Samples that are unlike photographs may be taken for
augmented too: what the bare models' samples get is the measure of that.
"""

from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, curve, markdown
from simulacra.augment import adaptive, differentiable
from simulacra.augment.differentiable import Policy
from simulacra.buffers import evaluating
from simulacra.data import Spec, open_data
from simulacra.data.batch import to_unit
from simulacra.features.classifier import Classifier, ClassifierConfig, load
from simulacra.features.training import train_and_save
from simulacra.images import to_uint8
from simulacra.journal import Log
from simulacra.judging import evaluate
from simulacra.randomness import generator, key_of

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STEPS, EVERY, SAMPLES = {500: 10_000, 2_000: 20_000}, 1_000, 10_000
NAMES = ("color", "translation", "cutout")
SHARED = {
    "width": "32",
    "discriminator_norm": "none",
    "r1": "1",
    "generator.lr": "1e-3",
    "discriminator.lr": "1e-3",
}
METHODS = {
    "bare": SHARED,
    "differentiable": SHARED | {"augment": ",".join(NAMES)},
    "adaptive": SHARED | {"adapt": "0.6"},
}
CPU = torch.device("cpu")
STRENGTH = 0.5  # p of the adaptive augmentation that its detector learns
POLICIES = {
    "differentiable": Policy(partial(differentiable.augment, names=NAMES), differentiable.numbers(NAMES)),
    "adaptive": Policy(partial(adaptive.adaptive, p=STRENGTH), adaptive.NUMBERS),
}
SHOWN, HALF, LESSONS = 5_000, 64, 600  # samples shown to detectors; half of their batches, and their steps
PICTURE = ROOT / "docs" / "images" / "few-images.png"
HEAD = ["images", "method", "KID · 1000", "lowest · 1000 (step)", "p", *(f"leak, {name}" for name in POLICIES)]


# Rows


def extractor_in(folder: Path) -> Path:
    """Where the extractor of the runs in `folder` lies."""
    return folder / "fashion_mnist.safetensors"


def rows(folder: Path = Path("runs/few_images")) -> list[Row]:
    """Every method on either number of images, seed 0."""
    watch = {"evaluate": "kid", "evaluate_features": str(extractor_in(folder)), "evaluate_every": str(EVERY)}
    return [
        Row(f"{count}-{method}-0", "dcgan", "fashion_mnist", STEPS[count], options, 0, {"rows": str(count)} | watch)
        for count in STEPS
        for method, options in METHODS.items()
    ]


def prepare(folder: Path) -> None:
    """Train what judges, where it is not there yet: the extractor and the detectors."""
    folder.mkdir(parents=True, exist_ok=True)
    if not extractor_in(folder).exists():
        train_and_save("fashion_mnist", extractor_in(folder), workers=0)
    for name in POLICIES:
        if not _detector_in(folder, name).exists():
            torch.save(train_detector(name, images_of("train")).state_dict(), _detector_in(folder, name))


def images_of(split: str) -> Tensor:
    """Fashion-MNIST's images, uint8 `[N, 1, 28, 28]`."""
    data = open_data("fashion_mnist", split=split).data
    assert isinstance(data, Tensor)
    return data


# Leaks


def augmented(x: Tensor, name: str, seed: int) -> Tensor:
    """Images in [−1, 1] under a policy, by random numbers of the seed."""
    policy = POLICIES[name]
    return policy.apply(x, torch.rand(len(x), policy.numbers, generator=generator(CPU, seed)))


def in_bytes(x: Tensor) -> Tensor:
    """Images cut to [−1, 1] and rounded as a picture's bytes are."""
    return to_unit(to_uint8(x))


def new_detector(shape: tuple[int, ...]) -> Classifier:
    """An untrained network that says "plain" (0) or "augmented" (1) of images of the shape (C, H, W)."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key_of(0))
        return Classifier(ClassifierConfig(width=16), Spec(kind="image", shape=shape, classes=("plain", "augmented")))


def train_detector(name: str, images: Tensor, lessons: int = LESSONS) -> Classifier:
    """A detector of one policy, taught on uint8 images `[N, C, H, W]`; half of every batch is augmented."""
    network = new_detector(tuple(images.shape[1:]))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    labels = torch.arange(2).repeat_interleave(HALF)
    for lesson in range(lessons):
        chosen = torch.randint(len(images), (2 * HALF,), generator=generator(CPU, 1, lesson))
        plain, others = to_unit(images[chosen]).split(HALF)
        shown = torch.cat([plain, in_bytes(augmented(others, name, lesson))])
        optimizer.zero_grad()
        cross_entropy(network(shown).logits, labels).backward()
        optimizer.step()
    return network.eval()


def _detector_in(folder: Path, name: str) -> Path:
    return folder / f"detector-{name}.pt"


def called_augmented(network: nn.Module, x: Tensor) -> float:
    """The share of images `[N, C, H, W]` in [−1, 1] that a detector calls augmented."""
    with evaluating(network):
        logits = torch.cat([network(in_bytes(part)).logits for part in x.split(500)])
    return (logits.argmax(1) == 1).double().mean().item()


def leaks(folder: Path, samples: Tensor) -> dict[str, dict[str, float]]:
    """By policy: the share called augmented of samples, and of test images, plain and augmented."""
    test, found = to_unit(images_of("test")), {}
    for name in POLICIES:
        network = new_detector(tuple(samples.shape[1:]))
        network.load_state_dict(torch.load(_detector_in(folder, name)))
        seen = {"samples": samples, "plain": test, "augmented": augmented(test, name, LESSONS)}
        found[name] = {what: called_augmented(network, x) for what, x in seen.items()}
    return found


# The table and its figure


def judge(run: Path) -> dict[str, Any]:
    """KID with its error and along the training, the augmentation's last p, and leaks."""
    path = extractor_in(run.parent)
    score = evaluate(run, metrics=["kid"], features=str(path), samples=SAMPLES).scores["kid"]
    samples = simulacra.load(run).sample(SHOWN, seed=1).cpu()
    found = {"kid": score.value, "error": score.standard_error, "curve": curve(run, "kid"), "p": last_probability(run)}
    return found | {"leaks": leaks(run.parent, samples), "extractor": load(path).record.accuracy}


def last_probability(run: Path) -> float | None:
    """The p that adaptive augmentation had reached; None without it."""
    found = [line[name] for line in Log(run).lines() if (name := "discriminate/augment") in line]
    return found[-1] if found else None


def lines(done: dict[str, dict[str, Any]]) -> list[list[object]]:
    """A line per number of images and method, in the order of `rows`."""
    found = []
    for row in rows():
        if (ours := done.get(row.key)) and "kid" in ours:
            count, method, _ = row.key.split("-")
            found.append([count, method, *_scores(ours), ours["seconds"], f"`{ours['command']}`"])
    return found


def _scores(ours: dict[str, Any]) -> list[str]:
    step, lowest = min(ours["curve"], key=lambda pair: pair[1])
    p = "-" if ours["p"] is None else f"{ours['p']:.2f}"
    shares = [f"{ours['leaks'][name]['samples']:.3f}" for name in POLICIES]
    return [f"{1000 * ours['kid']:.2f} ± {1000 * ours['error']:.2f}", f"{1000 * lowest:.2f} ({step})", p, *shares]


def calibration(done: dict[str, dict[str, Any]]) -> str:
    """What the detectors say of test images, and how good the extractor is."""
    judged = [row for row in done.values() if "leaks" in row]
    if not judged:
        return ""
    shares = [
        f"{name}: {said['plain']:.3f} of plain and {said['augmented']:.3f} of augmented test images"
        for name, said in judged[-1]["leaks"].items()
    ]
    accuracy = judged[-1]["extractor"]
    return f"Called augmented by the detectors, {'; '.join(shares)}. The extractor names {accuracy:.2%} of test images."


def picture(done: dict[str, dict[str, Any]]) -> bool:
    """Draw the curves of what is there; whether anything was."""
    if not any("curve" in row for row in done.values()):
        return False
    figure, axes = plt.subplots(1, len(STEPS), figsize=(9, 3.4), sharey=True)
    for place, count in zip(axes, STEPS):
        for method in METHODS:
            points = done.get(f"{count}-{method}-0", {}).get("curve", [])
            place.plot([step for step, _ in points], [kid for _, kid in points], marker="o", ms=3, label=method)
        place.set(title=f"{count} images", xlabel="steps", yscale="log")
    axes[0].set_ylabel("KID against all training images")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=90)
    plt.close(figure)
    return True


def text(done: dict[str, dict[str, Any]]) -> str:
    """The table, what to hold it against, and the figure."""
    parts = [markdown([*HEAD, "seconds", "command"], lines(done)), calibration(done)]
    if picture(done):
        parts.append('<img src="images/few-images.png" width="720" alt="KID over the steps">')
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    def make(folder: Path) -> Table:
        return Table("few_images", rows(folder / "few_images"), judge)

    conduct(__doc__, make, text, prepare)


if __name__ == "__main__":
    main()
