"""Fixed rules, resolved once and written down: on which device, in which precision and memory format a run computes."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from simulacra.errors import UserError

Precision = Literal["float32", "bfloat16"]


def choose_device(wish: str) -> torch.device:
    """`auto`: cuda, else mps, else cpu; each process of several on a machine takes a cuda device of its own.

    Raises UserError for a device that is not there."""
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wish == "cuda":
        wish = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    try:
        device = torch.device(wish)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError(f"training on {device.type} is not supported")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(f"device '{wish}' is not available here: try --device cpu") from None
    return device


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 matrices in hardware rather than by conversion."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def choose_precision(wish: str, device: torch.device, *, vectors: bool = False) -> Precision:
    """`auto`: bfloat16 where the hardware computes in it, else float32, and always float32 for data that are `vectors`:
    bfloat16 tells 3.98 from 4 and no number between, which is wider than a mode of points may be. Raises UserError for
    an unknown word."""
    if wish == "auto":
        return "bfloat16" if has_native_bfloat16(device) and not vectors else "float32"
    if wish not in ("float32", "bfloat16"):
        raise UserError(f"precision '{wish}' is not known: auto, float32 or bfloat16")
    return wish


def autocast(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager]:
    """The context in which costs run their networks; penalties and likelihoods leave it themselves."""
    if precision == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)


def full_precision(device: torch.device) -> AbstractContextManager:
    """The context of penalties, likelihoods and measures: float32 or better, whatever surrounds it."""
    return torch.autocast(device.type, enabled=False)


def widen(x: Tensor) -> Tensor:
    """`x` in float32 if it is in a half precision, else as it is: before exponentials, logarithms and sums."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
