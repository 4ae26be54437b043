"""Training a classifier to make features of: on which rows, how, and what is written down of it."""

import logging
import shlex
from collections.abc import Callable
from contextlib import closing
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.config import Config
from simulacra.data.batch import Batch
from simulacra.data.feed import Feed
from simulacra.data.names import NumberedRows
from simulacra.data.source import Source
from simulacra.data.spec import Spec
from simulacra.data.summary import images
from simulacra.data.words import open_data, shareable
from simulacra.errors import UserError
from simulacra.features.classifier import Classifier, ClassifierConfig, channels_last, rows_at_once, save
from simulacra.optimizers import Adam
from simulacra.precision import autocast, choose_device, choose_precision, full_precision

log = logging.getLogger("simulacra.features")
SUFFIX = ".safetensors"
RATE, DECAY = 4e-3, 1e-2  # learning rate at its highest, and weight decay
SHIFT = 14  # an image moves by up to this part of its side
TOLD = 20  # steps between two looks at the loss

Progress = Callable[[int, int, float], None]
"""Told of steps done, steps in all, and the loss of the last one in nats."""


class Course(Config):
    """How a classifier is trained."""

    epochs: int = Field(default=8, ge=1, description="passes over the training rows")
    batch: int = Field(default=128, ge=2, description="rows per step")
    seed: int = Field(default=0, ge=0, lt=2**62, description="key of first weights, order of rows, shifts and dropout")
    mirror: bool = Field(default=False, description="flip images left to right by a fair coin")


class Trained(NamedTuple):
    """A classifier in eval mode, on the device it was trained on, and what its file will say of it."""

    network: Classifier
    facts: dict[str, Any]


# On rows


def train_extractor(
    source: Source,
    test: Source | None = None,
    *,
    device: str | torch.device = "cpu",
    workers: int = 0,
    progress: Progress | None = None,
    **course: Any,
) -> Trained:
    """Train a classifier of labelled images, and count on `test` how often it is right.

    AdamW under a one-cycle learning rate (Smith & Topin 2018) on images shifted by up to a 14th of their side, in
    bfloat16 where `device` computes in it. A function of data, course and kind of machine; torch's own generators
    stay as they are. `course` are the fields of `Course`; `workers` processes decode streamed sources. The facts are
    the fields of the extractor's record but its command.

    Raises:
        UserError: vectors, no labels, one class only, a test split of another shape, or a loss that became NaN.
    """
    how, device = Course.read(course, "the training"), torch.device(device)
    check(source)
    if test is not None and test.spec.shape != source.spec.shape:
        raise UserError(f"the test split of {test.word!r} has rows of shape {test.spec.shape}, not {source.spec.shape}")
    network = channels_last(_network(source.spec, how.seed), device)
    options = {"seed": how.seed, "batch": how.batch, "mirror": how.mirror}
    with closing(Feed(source, **options, device=device, workers=workers, channels_last=True)) as feed:
        _descend(network, feed, how, device, progress or _silent)
    network.requires_grad_(False).eval()
    counted = {"test_rows": None, "accuracy": None}
    if test is not None and test.labels is not None:
        counted = {"test_rows": len(test), "accuracy": accuracy(network, test, workers)}
    facts = {"spec": source.spec.as_dict(), "network": network.config.model_dump(), "data": shareable(source.word)}
    facts |= {"fingerprint": source.fingerprint, "rows": len(source), **how.model_dump(), **counted}
    return Trained(network, facts)


def check(source: Source) -> None:
    """Raises UserError where no classifier can be trained on `source`."""
    if source.spec.kind != "image":
        raise UserError(f"{source.word!r} holds vectors: an extractor is trained on images")
    if source.labels is None or source.spec.classes is None:
        raise UserError(f"{source.word!r} has no labels to train a classifier on")
    if len(source.labels.unique()) < 2:
        raise UserError(f"all rows of {source.word!r} are of one class: there is nothing to tell apart")


def held_source(word: str, rows: Tensor, labels: Tensor, spec: Spec) -> Source:
    """A source of labelled images held in memory, uint8 `[N, D]` or `[N, C, H, W]`, to train on or to count on."""
    return Source(
        word=word,
        split="train",
        spec=spec,
        summary=images(len(rows)),
        fingerprint="",
        labels=labels.cpu(),
        names=NumberedRows(word, np.arange(len(rows))),
        data=rows.reshape(-1, *spec.shape),
        count=len(rows),
        in_memory=True,
    )


def _network(spec: Spec, seed: int) -> Classifier:
    """A classifier whose first weights are a function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(randomness.key_of(seed))
        return Classifier(ClassifierConfig(), spec)


def _descend(network: Classifier, feed: Feed, course: Course, device: torch.device, progress: Progress) -> None:
    steps = max(1, course.epochs * len(feed.source) // course.batch)
    optimizer = Adam(lr=RATE, weight_decay=DECAY).build(network.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    precision = autocast(choose_precision("auto", device), device)
    for step in range(1, steps + 1):
        batch = feed.at(step - 1)
        with precision():
            logits = _logits(network, batch, randomness.generator(device, course.seed, step))
        assert batch.labels is not None
        loss = cross_entropy(logits.float(), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        if step % TOLD == 0 or step == steps:
            _tell(step, steps, loss.item(), progress)


def _logits(network: Classifier, batch: Batch, generator: torch.Generator) -> Tensor:
    """Logits of a training batch, its images shifted and features dropped out."""
    features = network.body(shifted(batch.x, generator))
    kept = torch.rand(features.shape, generator=generator, device=features.device) >= network.config.dropout
    return network.head(features * kept / (1.0 - network.config.dropout))


def _tell(step: int, steps: int, loss: float, progress: Progress) -> None:
    if not isfinite(loss):
        raise UserError(f"the classifier's loss became {loss} at step {step}: try another seed or larger batches")
    progress(step, steps, loss)


def _silent(step: int, steps: int, loss: float) -> None:
    pass


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images `[N, C, H, W]`, each moved by up to a 14th of height and width either way; what comes in at an edge
    repeats it."""
    rows, columns = (_moved(len(x), side, generator) for side in x.shape[2:])
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _moved(n: int, side: int, generator: torch.Generator) -> Tensor:
    """For each of n images, which of `side` old pixels the new ones are, `[n, side]`."""
    most, device = side // SHIFT, generator.device
    by = torch.randint(-most, most + 1, (n, 1), generator=generator, device=device)
    return (torch.arange(side, device=device) + by).clamp(0, side - 1)


def accuracy(network: Classifier, test: Source, workers: int = 0) -> float:
    """The share of labelled rows of `test` that `network` names rightly. Classes are matched by name: one that the
    network does not know is always named wrongly."""
    if test.labels is None:
        raise UserError(f"{test.word!r} has no labels to compare with")
    number = {name: k for k, name in enumerate(network.spec.classes or ())}
    own = torch.tensor([number.get(name, -1) for name in test.spec.classes or ()])[test.labels]
    device = network.head.weight.device
    batch = rows_at_once(test.spec.height * test.spec.width)
    feed = Feed(test, seed=0, batch=batch, device=device, workers=workers, full_passes=True)
    with closing(feed), evaluating(network), full_precision(device):
        named = [network(feed.at(b).x).logits.argmax(1).cpu() for b in range(feed.batches_per_pass)]
    return (torch.cat(named) == own).double().mean().item()


# From the command line


def train_and_save(
    word: str,
    out: str | Path,
    *,
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    skip_broken: bool = False,
    device: str = "auto",
    workers: int = 2,
    progress: Progress | None = None,
    **course: Any,
) -> dict[str, Any]:
    """Train an extractor on the training rows of a data word and write it to `out`, at the end and at once.

    `course` are the fields of `Course`; the others are those of `open_data` and `train_extractor`.

    Returns:
        What its file says of it: the fields of `features.classifier.Record`.

    Raises:
        UserError: as `open_data` and `train_extractor`; `out` is no name of a safetensors file, or a folder.
        MachineError: the file cannot be written.
    """
    how, place = Course.read(course, "the training"), _place(Path(out))
    source = open_data(word, size=size, channels=channels, skip_broken=skip_broken)
    check(source)
    test = _test_split(source, skip_broken)
    options = how.model_dump()
    trained = train_extractor(source, test, device=choose_device(device), workers=workers, progress=progress, **options)
    asked = {"size": size and "x".join(map(str, size)), "channels": channels, "skip-broken": skip_broken}
    command = _command(shareable(word), place.name, asked, how)
    return save(place, trained.network, {**trained.facts, "command": command}).model_dump(mode="json")


def _place(out: Path) -> Path:
    place = out.expanduser()
    if place.suffix != SUFFIX or place.is_dir():
        raise UserError(f"'{out}' is no name for an extractor: choose one that ends in {SUFFIX}")
    if not place.parent.is_dir():
        raise UserError(f"there is no folder '{place.parent}' to write the extractor to: make it first")
    return place


def _test_split(source: Source, skip_broken: bool) -> Source | None:
    """The test split in the shape of `source`; None, and a warning, where it cannot be had."""
    channels: Any = source.spec.channels
    size = source.spec.height, source.spec.width
    try:
        return open_data(source.word, split="test", size=size, channels=channels, skip_broken=skip_broken)
    except UserError as error:
        log.warning("the extractor's accuracy will not be known: %s", error)
        return None


def _command(word: str, out: str, asked: dict[str, Any], course: Course) -> str:
    """The command that trains this again, without what is as by default."""
    changed = {name: value for name, value in course.model_dump().items() if value != getattr(Course(), name)}
    words = ["simulacra", "extractor", "train", "--data", word, "--out", out]
    for name, value in {**asked, **changed}.items():
        if value:
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return shlex.join(words)
