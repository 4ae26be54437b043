"""What the classifier of the package reads in images of digits."""

import torch
from torch import Tensor

from simulacra.features.catalogue import find_extractor
from simulacra.images import to_uint8
from simulacra.models.base import Model


def read_digits(model: Model, x: Tensor) -> Tensor:
    """Shares `[N, 10]` that the extractor `mnist` gives the ten digits in images `[N, 1, 28, 28]` in [−1, 1], which are
    of the shape of `model`."""
    extractor, found = find_extractor("mnist", model.spec), []
    for part in to_uint8(x.cpu()).split(1000):
        logits = extractor(part).logits
        assert logits is not None
        found.append(logits.softmax(1))
    return torch.cat(found)
