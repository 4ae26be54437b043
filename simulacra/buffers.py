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
    σ of its stored vectors instead of advancing them. Any other layer gets copies of its buffers to write to.
    """
    switches = [switch for module in modules for switch in _switches(module)]
    others = [buffer for module in modules for buffer in _other_buffers(module)]
    before = [getattr(layer, name) for layer, name in switches]
    for layer, name in switches:
        setattr(layer, name, False)
    for layer, name, buffer in others:
        layer._buffers[name] = buffer.clone()
    try:
        yield
    finally:
        for (layer, name), value in zip(switches, before):
            setattr(layer, name, value)
        for layer, name, buffer in others:
            layer._buffers[name] = buffer


def _switches(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The attributes that, set to False, keep a layer in training mode from writing its buffers."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            yield layer, "track_running_stats"
        elif isinstance(layer, _SpectralNorm):
            yield layer, "training"


def _other_buffers(module: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    for layer in module.modules():
        if not isinstance(layer, _BatchNorm | _SpectralNorm):
            yield from ((layer, name, buffer) for name, buffer in layer.named_buffers(recurse=False))


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
