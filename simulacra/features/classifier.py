"""A small convolutional classifier of images: the network, the file it is kept in, and the extractor made of it."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from math import log2
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra import __version__
from simulacra.buffers import evaluating
from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.disk import replace
from simulacra.errors import MachineError, UserError
from simulacra.features.extractor import Extractor, Said
from simulacra.features.files import pack, unpack
from simulacra.features.resizing import Resizer
from simulacra.precision import full_precision

FORMAT = 1
COARSE = 7  # pixels: images are pooled until the last map has about this side
ROWS, PIXELS = 500, 500 * 32 * 32  # images that go through the network at once, and pixels of all of them, at most
IN_CACHE = 100 * 32 * 32  # the same pixels on a CPU, whose cache their maps leave beyond that: half the time again
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
N = TypeVar("N", bound=nn.Module)


class ClassifierConfig(Config):
    """What the network is made of."""

    width: int = Field(
        default=32, ge=1, le=4096, description="channels next to the image; features are four times as many"
    )
    dropout: float = Field(default=0.2, ge=0, lt=1, description="share of the features dropped in training")


class Classifier(nn.Module):
    """Three blocks of 3 × 3 convolutions, each with batch norm and ReLU, of `width`, 2 and 4 times `width` channels.

    The mean over the last map is the features; one linear layer makes logits of them. There is a max pool of stride 2
    behind the first two blocks, none where images are small, and a convolution and a pool more in front for each
    halving that larger images need to come down to about 7 × 7.
    """

    def __init__(self, config: ClassifierConfig, spec: Spec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        channels, height, width = spec.image_shape
        pools, w = max(0, round(log2(min(height, width) / COARSE))), config.width
        plan: list[tuple[int, ...]] = [*[(w,)] * (pools - 2), (w, w), (2 * w, 2 * w), (4 * w,)]
        layers: list[nn.Module] = []
        for level, block in enumerate(plan):
            layers += _convolutions(channels, block)
            channels = block[-1]
            if level < min(pools, len(plan) - 1):
                layers.append(nn.MaxPool2d(2))
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels, len(spec.classes or ()))

    def forward(self, x: Tensor) -> Said:
        """Features `[N, 4 width]` and logits `[N, K]` of images `[N, C, H, W]` in [−1, 1]."""
        features = self.body(x)
        return Said(features, self.head(features))


def _convolutions(inputs: int, channels: Sequence[int]) -> list[nn.Module]:
    """3 × 3 convolutions that keep the size, with batch norm and ReLU."""
    pairs = zip((inputs, *channels), channels)
    blocks = [(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()) for a, b in pairs]
    return [layer for block in blocks for layer in block]


def channels_last(network: N, device: torch.device) -> N:
    """The network on `device`, its weights in the memory format that convolutions are fastest in."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[reportCallIssue]


# The file


class Record(Config):
    """What the file of a classifier says of it."""

    format: int = Field(ge=1, strict=True, description="version of the file's format")
    spec: dict[str, Any] = Field(description="the images it takes, and its classes")
    network: dict[str, Any] = Field(description="settings of the network")
    data: str = Field(description="the data word it was trained on; of a path only its end")
    fingerprint: str = Field(description="of the training rows")
    rows: int = Field(description="training rows")
    seed: int = Field(description="key of all randomness")
    epochs: int = Field(description="passes over the training rows")
    batch: int = Field(description="rows per step")
    mirror: bool = Field(description="whether images were mirrored by a fair coin")
    test_rows: int | None = Field(description="rows of the test split, or null where there is none")
    accuracy: float | None = Field(description="share of them that it names rightly")
    command: str = Field(description="what trained it")
    simulacra: str = Field(description="version of this package")
    torch: str = Field(description="version of torch")


class Saved(NamedTuple):
    """A classifier read back: its network in eval mode, its record, and the hex sha256 of its file."""

    network: Classifier
    record: Record
    digest: str


def save(path: Path, network: Classifier, facts: dict[str, Any]) -> Record:
    """Write a classifier; `facts` are the fields of `Record` but the format and the versions.

    Raises:
        MachineError: the disk is full or cannot be written to; a former file is intact.
    """
    versions = {"simulacra": __version__, "torch": version("torch")}
    record = Record.read({"format": FORMAT, **versions, **facts}, "the extractor's record")
    try:
        replace(path, pack(network.state_dict(), record.model_dump(mode="json")))
    except OSError as error:
        raise MachineError(f"cannot write the extractor {str(path)!r}: {error.strerror or error}") from error
    return record


def load(path: Path) -> Saved:
    """Read a classifier's file, of which nothing is executed.

    Raises:
        UserError: there is none; or it is damaged, no extractor, or of a newer format: what is wrong is named.
        MachineError: the file cannot be read.
    """
    if not path.is_file():
        raise UserError(f"there is no extractor {str(path)!r}: train one by `simulacra extractor train`")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MachineError(f"cannot read the extractor {str(path)!r}: {error.strerror or error}") from error
    try:
        tensors, facts = unpack(content)
    except ValueError as error:
        raise UserError(f"extractor {str(path)!r} is damaged ({error}): copy or train it again") from None
    try:
        return Saved(*_read(tensors, facts), hashlib.sha256(content).hexdigest())
    except UserError as error:
        raise UserError(f"extractor {str(path)!r}: {error}") from None


def _read(tensors: dict[str, Tensor], facts: dict[str, Any] | None) -> tuple[Classifier, Record]:
    record = _record(facts)
    spec = Spec.from_dict(record.spec)
    if spec.kind != "image" or not spec.classes:
        raise UserError("its record names no image shape or no classes")
    config = ClassifierConfig.read(record.network, "its network")
    with torch.device("meta"):
        network = Classifier(config, spec)
    _compare(network.state_dict(), tensors)
    network.load_state_dict(tensors, assign=True)
    return network.requires_grad_(False).eval(), record


def _record(facts: dict[str, Any] | None) -> Record:
    if facts is None or "format" not in facts:
        raise UserError("this is no extractor: it has no record of how it was trained")
    newest = facts["format"]
    if type(newest) is int and newest > FORMAT:
        raise UserError(f"format {newest} is newer than {FORMAT}, the newest known here: upgrade simulacra")
    return Record.read(facts, "its record")


def _compare(expected: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Refuse tensors that are not exactly the `expected` ones by name, shape and type."""
    for name in sorted(expected.keys() ^ tensors.keys()):
        raise UserError(
            f"it lacks '{name}'" if name in expected else f"it holds '{name}', which such a network has not"
        )
    for name, tensor in tensors.items():
        wanted = expected[name]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            found, should = (f"{list(t.shape)} of {str(t.dtype).removeprefix('torch.')}" for t in (tensor, wanted))
            raise UserError(f"'{name}' is {found} where such a network has {should}")


# The extractors


class ClassifierExtractor(Extractor):
    """Features before the last layer of a classifier, `[B, 128]` by default, and its logits.

    Images are resized as a whole where their size is another; then grey is repeated, or colour turned to grey as
    ITU-R 601 luma, where their channels are others. So many go through the network at once, 500 at most, that it needs
    about 0.3 GB beside them.

    Args:
        name: the word it was asked for with.
        saved: the classifier.
        spec: the rows it will see.
        resizer: how they are resized, if they need to be.
        device: where it computes.
    """

    def __init__(self, name: str, saved: Saved, spec: Spec, resizer: Resizer, device: str | torch.device) -> None:
        self.name, self.digest, self.record = name, saved.digest, saved.record
        self.spec = Spec.from_dict(saved.record.spec)
        self.classes = self.spec.classes
        self._size = self.spec.height, self.spec.width
        self.resizer = "none" if spec.shape[1:] == self._size else resizer.name
        self._resizer, self._device = resizer, torch.device(device)
        self._network = channels_last(saved.network, self._device)

    def __call__(self, rows: Tensor) -> Said:
        """Of images `[B, C, H, W]`, C = 1 or 3, uint8 or float32 in 0 … 255."""
        with evaluating(self._network), full_precision(self._device):
            pixels = max(rows.shape[2] * rows.shape[3], self._size[0] * self._size[1])
            at_once = rows_at_once(pixels, IN_CACHE if self._device.type == "cpu" else PIXELS)
            said = [self._network(self._fitted(part)) for part in rows.to(self._device).split(at_once)]
        features, logits = zip(*said)
        return Said(torch.cat(features), torch.cat(logits))

    def _fitted(self, images: Tensor) -> Tensor:
        """Images as the network takes them: float32 in [−1, 1], of its size and channels."""
        resized = self._resizer(images, self._size)
        fitted = with_channels(resized, self.spec.channels)
        return (fitted / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)

    def doubts(self, spec: Spec) -> list[str]:
        """Warnings where channels, classes or size differ from the images it was trained on."""
        own, found = self.spec, []
        if spec.channels != own.channels:
            turned = "turned to grey" if own.channels == 1 else "repeated as RGB"
            found.append(f"{self.name} was trained on other channels: images are {turned}")
        if spec.classes is not None and spec.classes != own.classes:
            found.append(f"{self.name} tells other classes apart than the data have ({_few(own.classes or ())})")
        if (spec.height, spec.width) != (own.height, own.width):
            sizes = f"{spec.height}x{spec.width} pixels are brought to {own.height}x{own.width}"
            found.append(f"{self.name} was trained on images of another size: {sizes}")
        return found


def rows_at_once(pixels: int, most: int = PIXELS) -> int:
    """How many images of so many pixels should go through the network at once, of `most` pixels together."""
    return max(1, min(ROWS, most // pixels))


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Float images `[B, C, H, W]` with 1 or 3 channels: grey repeated, colour as ITU-R 601 luma."""
    if images.shape[1] == channels:
        return images
    if channels == 1:
        weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
        return (images * weights).sum(1, keepdim=True)
    return images.repeat(1, 3, 1, 1)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f", and {len(names) - 10} more" if len(names) > 10 else "")
