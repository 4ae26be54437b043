"""Averages of weights along training, and the weights a model is judged by."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Average:
    """Exponential moving average of parameters, with a window that grows with training.

    After t updates the decay is min(decay, t / (t + 10)): the untrained weights drop out at once (t = 0), the window
    is a tenth of the training so far, and `decay` bounds it in the end. Before any update it is the weights themselves.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float = 0.999) -> None:
        self.parameters, self.decay, self.updates = parameters, decay, 0
        self.values: list[Tensor] = []

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the parameters as they are now."""
        if not self.values:
            self.values = [parameter.detach().clone() for parameter in self.parameters]
        decay = min(self.decay, self.updates / (self.updates + 10))
        weights = list(self.parameters)
        torch._foreach_lerp_(self.values, weights, 1.0 - decay)  # type: ignore[reportPrivateImportUsage]
        self.updates += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the parameters hold their averages."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for k, parameter in enumerate(self.parameters[: len(self.values)]):
            parameter.data, self.values[k] = self.values[k], parameter.data

    def load(self, values: Sequence[Tensor], updates: int) -> None:
        """Take over `values`, one per parameter, as they were after `updates` updates."""
        self.values = [torch.empty_like(p.data).copy_(value) for p, value in zip(self.parameters, values)]
        self.updates = updates


@contextmanager
def statistics_reestimated(model: nn.Module, passes: Iterator[None]) -> Iterator[None]:
    """Inside, batch norm's running statistics are the plain average over `passes`, run in training mode.

    They belong to the weights as they are now (averaged ones, say); the former statistics come back afterwards.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    before = [(layer, layer.momentum, {k: v.clone() for k, v in layer.named_buffers()}) for layer in norms]
    modes = [(layer, layer.training) for layer in model.modules()]
    try:
        _reestimate(norms, passes)
        _set_modes(modes)
        yield
    finally:
        _set_modes(modes)
        for layer, momentum, buffers in before:
            layer.momentum = momentum
            for name, buffer in layer.named_buffers():
                buffer.copy_(buffers[name])


@torch.no_grad()
def _reestimate(norms: Sequence[_BatchNorm], passes: Iterator[None]) -> None:
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # None: cumulative average
        layer.train()
    if norms and not sum(1 for _ in passes):
        raise ValueError("the model has batch norm but makes no `training_passes` to re-estimate its statistics over")


def _set_modes(modes: Sequence[tuple[nn.Module, bool]]) -> None:
    for layer, training in modes:
        layer.training = training


@contextmanager
def judged(model: nn.Module, averages: Sequence[Average], passes: Callable[[], Iterator[None]]) -> Iterator[str]:
    """Inside, `model` is as it is judged, sampled and saved: averaged weights where there are averages, and running
    statistics re-estimated for them. Yields which weights these are, in words."""
    averages = [average for average in averages if average.values]
    if not averages:
        yield "the weights of the last step"
        return
    with ExitStack() as stack:
        for average in averages:
            stack.enter_context(average.in_place())
        normed = any(isinstance(layer, _BatchNorm) for layer in model.modules())
        stack.enter_context(statistics_reestimated(model, passes()))
        words = f"the moving average of the weights (decay {averages[0].decay})"
        yield words + (", batch-norm statistics re-estimated for it" if normed else "")
