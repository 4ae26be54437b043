"""Buffers (running statistics, power-iteration vectors) are read-only while their owner does not move."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm


@contextmanager
def held(*modules: nn.Module) -> Iterator[None]:
    """Inside, forward passes of `modules` write none of their buffers.

    Batch norm still normalises with the batch's statistics but leaves its running ones; spectral norm divides by the
    σ of its stored vectors instead of advancing them. Buffers of any other module are put back on the way out.
    """
    switches = [switch for module in modules for switch in _switches(module)]
    copies = [(buffer, buffer.clone()) for module in modules for buffer in _other_buffers(module)]
    before = [getattr(layer, name) for layer, name in switches]
    for layer, name in switches:
        setattr(layer, name, False)
    try:
        yield
    finally:
        for (layer, name), value in zip(switches, before):
            setattr(layer, name, value)
        with torch.no_grad():
            for buffer, copy in copies:
                buffer.copy_(copy)


def _switches(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The attributes that, set to False, keep a layer in training mode from writing its buffers."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            yield layer, "track_running_stats"
        elif isinstance(layer, _SpectralNorm):
            yield layer, "training"


def _other_buffers(module: nn.Module) -> Iterator[Tensor]:
    for layer in module.modules():
        if not isinstance(layer, _BatchNorm | _SpectralNorm):
            yield from (buffer for buffer in layer.buffers(recurse=False) if buffer is not None)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Inside, `module` is in eval mode and no gradient is recorded; every layer's own mode comes back afterwards."""
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, training in modes:
            layer.training = training
