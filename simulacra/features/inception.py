"""The Inception network that FID and Inception Score are defined with, by way of torch-fidelity (extra `metrics`).

It is the classifier of Szegedy et al. 2016 in TensorFlow's graph of 2015-12-05, its weights converted by
torch-fidelity; numbers agree with the original's only with these weights and its own resizing ("tf-bilinear").
"""

import hashlib
import io
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from simulacra.buffers import evaluating
from simulacra.data.spec import Spec
from simulacra.disk import cache_folder
from simulacra.errors import MachineError, UserError
from simulacra.features.classifier import channels_last, with_channels
from simulacra.features.extractor import Extractor, Said
from simulacra.features.resizing import RESIZERS, Resizer
from simulacra.precision import full_precision

log = logging.getLogger("simulacra.features")
FILE = "weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
PLACE = "SIMULACRA_INCEPTION"  # the environment variable that names the file
OWN = "tf-bilinear"  # the resizing that is part of the network
SIDE = 299  # pixels
CLASSES = 1008
ROWS = 32  # images that go through the network at once
OTHERS = "take '--features pixels', or an extractor of your own by `simulacra extractor train`"


class Inception(Extractor):
    """The 2048 features before the last layer, and the 1008 logits without their bias, as the Inception Score takes
    them.

    Grey images are repeated as RGB. By default images are resized inside the network, not antialiased; by another
    resizer they come as rounded bytes of 299 × 299, for the network takes bytes. 32 at a time: 0.5 GB.

    Args:
        network: torch-fidelity's `FeatureExtractorInceptionV3` with the layers "2048" and "logits_unbiased".
        digest: hex sha256 of its weights.
        spec: the rows it will see.
        resizer: how they are resized.
        device: where it computes.
    """

    name, whole_bytes = "inception", True
    classes = tuple(str(k) for k in range(CLASSES))

    def __init__(
        self, network: nn.Module, digest: str, spec: Spec, resizer: Resizer, device: str | torch.device = "cpu"
    ) -> None:
        self.digest, self._resizer, self._device = digest, resizer, torch.device(device)
        self.resizer = "none" if spec.shape[1:] == (SIDE, SIDE) else resizer.name
        self._network = channels_last(network, self._device)

    @classmethod
    def find(cls, spec: Spec, resizer: Resizer | None = None, device: str | torch.device = "cpu") -> "Inception":
        """The extractor with the published weights, downloaded where they are not on this machine.

        Raises:
            UserError: torch-fidelity is not installed; or the weights cannot be had, or are others than published.
        """
        _fidelity()
        return cls.of(weights(), SHA256, spec, resizer, device)

    @classmethod
    def of(
        cls,
        state: Mapping[str, Tensor],
        digest: str,
        spec: Spec,
        resizer: Resizer | None = None,
        device: str | torch.device = "cpu",
    ) -> "Inception":
        """The extractor with the weights `state`. Raises UserError where torch-fidelity is not installed."""
        buffer = io.BytesIO()  # its constructor takes weights from a file alone, and unpickles it: it gets one of ours
        torch.save(dict(state), buffer)
        buffer.seek(0)
        with torch.random.fork_rng(devices=[]):
            network = _fidelity()("inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=buffer)
        return cls(network, digest, spec, resizer or RESIZERS[OWN], device)

    def __call__(self, rows: Tensor) -> Said:
        """Of images uint8 `[B, C, H, W]`, C = 1 or 3. Raises UserError for float32: the network rounds."""
        if rows.is_floating_point():
            raise UserError(f"inception looks at whole bytes, and this needs images that are not rounded: {OTHERS}")
        with evaluating(self._network), full_precision(self._device):
            said = [self._network(self._bytes(part)) for part in rows.to(self._device).split(ROWS)]
        features, logits = zip(*said)
        return Said(torch.cat(features), torch.cat(logits))

    def _bytes(self, images: Tensor) -> Tensor:
        """Images uint8 `[B, 3, H, W]`, of 299 × 299 where the network is not to resize them."""
        if self._resizer.name != OWN:
            images = self._resizer(images, (SIDE, SIDE)).round().to(torch.uint8)
        return with_channels(images, 3)

    def doubts(self, spec: Spec) -> list[str]:
        """Warnings where images are grey or very small."""
        found = []
        if spec.channels == 1:
            found.append("Inception was trained on photographs in colour: grey images are repeated as RGB")
        if min(spec.height, spec.width) < 32:
            sizes = f"{spec.height}x{spec.width} pixels are enlarged to {SIDE}x{SIDE}"
            found.append(f"Inception's features say little of images this small: {sizes}")
        return found


def _fidelity() -> Any:
    """torch-fidelity's class of the network."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UserError(f"'inception' needs torch-fidelity: pip install 'simulacra[metrics]', or {OTHERS}") from error
    return FeatureExtractorInceptionV3


# The weights


def weights() -> dict[str, Tensor]:
    """The published weights: from the file that `$SIMULACRA_INCEPTION` names; else from the cache of this package or
    of torch; else downloaded into the former. Nothing is read of a file before its hash is right, nor executed then.

    Raises:
        UserError: they cannot be downloaded, or a file is damaged or another one.
        MachineError: a file cannot be read.
    """
    path = _place()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MachineError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise UserError(f"{str(path)!r} does not hold the published weights of Inception: remove it and get {_url()}")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _place() -> Path:
    given = os.environ.get(PLACE)
    if given:
        path = Path(given).expanduser()
        if not path.is_file():
            raise UserError(f"{PLACE} names {given!r}, which is no file: it should be the file {FILE} of {_url()}")
        return path
    own = cache_folder("extractors") / FILE
    places = (own, Path(torch.hub.get_dir(), "checkpoints", FILE))
    return next((path for path in places if path.is_file()), None) or _downloaded(own)


def _downloaded(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log.warning("downloading the weights of Inception (91 MB) into '%s'", path.parent)
        torch.hub.download_url_to_file(_url(), str(path), hash_prefix=SHA256, progress=sys.stderr.isatty())
    except (OSError, RuntimeError) as error:  # no network, no disk, or other bytes than published
        why = " ".join(str(error).split())[:120]
        raise UserError(
            f"cannot download the weights of Inception ({why}): put {_url()} into '{path.parent}' by hand, or {OTHERS}"
        ) from error
    return path


def _url() -> str:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return URL_INCEPTION_V3
