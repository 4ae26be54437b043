"""simulacra: deep generative models under one way to train, resume, sample, judge, share and explore."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulacra.artifact import load, push_to_hub
    from simulacra.data import open_data
    from simulacra.errors import UserError
    from simulacra.images import write
    from simulacra.judging import evaluate
    from simulacra.training import train

__version__ = "0.1.0"
__all__ = ["UserError", "__version__", "evaluate", "load", "open_data", "push_to_hub", "train", "write"]

_HOMES = {
    "evaluate": "judging",
    "load": "artifact",
    "push_to_hub": "artifact",
    "open_data": "data",
    "UserError": "errors",
    "write": "images",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the command line's help must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'simulacra' has no attribute '{name}'")
    return getattr(importlib.import_module(f"simulacra.{_HOMES[name]}"), name)
