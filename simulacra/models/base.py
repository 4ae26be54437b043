"""What every model is: networks and the config they were made from."""

from abc import ABC
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from simulacra import config as settings
from simulacra.buffers import evaluating
from simulacra.data.spec import Spec
from simulacra.errors import UserError


class Model(nn.Module, ABC):
    """What remains after training. A concrete model names itself and its config, and offers verbs (`capabilities`)."""

    name: ClassVar[str]
    Config: ClassVar[type[settings.Config]]

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """What a loaded model can do beyond this, a type checker cannot know."""

    def __init__(self, config: settings.Config, spec: Spec) -> None:
        super().__init__()
        self.config, self.spec = config, spec

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def taken(self, x: Tensor) -> Tensor:
        """Data `[N, ...]` as networks take it: on the model's device, in the precision of its weights. Raises UserError
        for rows of another shape, images of whole numbers (bytes) and numbers that are not finite."""
        if tuple(x.shape[1:]) != self.spec.shape:
            rows = ", ".join(map(str, self.spec.shape))
            raise UserError(
                f"data of shape {tuple(x.shape)} does not fit the model, whose rows are ({rows}): give (N, {rows})"
            )
        if self.spec.kind == "image" and not x.is_floating_point():
            raise UserError(f"images of {str(x.dtype).removeprefix('torch.')}: scale them to [-1, 1], x / 127.5 - 1")
        if not bool(torch.isfinite(x).all()):
            raise UserError("the data holds values that are not finite: mend or remove its rows")
        return x.to(self.device, next(self.parameters()).dtype)

    @property
    def sees(self) -> str | None:
        """What the model makes of grey images before it sees them, in words for whoever trains it; None: nothing."""
        return None

    def training_passes(self, seed: int) -> Iterator[None]:
        """Forward passes as in training, one each time the iterator is advanced; batch norm's running statistics are
        re-estimated over them. A model without batch norm has none."""
        return iter(())


def in_batches(function: Callable[[Tensor], Tensor], x: Tensor, size: int = 250) -> Tensor:
    """`function` on rows of `x`, `size` at a time, so that memory does not grow with the number asked for."""
    return torch.cat([function(rows) for rows in x.split(size)]) if len(x) > size else function(x)


@contextmanager
def decoding(model: nn.Module, z: Tensor) -> Iterator[None]:
    """Like `evaluating`, but gradients are recorded where latents `z` require them, as inversion's do."""
    wanted = z.requires_grad and torch.is_grad_enabled()
    with evaluating(model), torch.set_grad_enabled(wanted):
        yield
