"""Tensors with facts beside them in one safetensors file."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

KEY = "simulacra"  # the entry of the header's metadata that holds the facts, as JSON


def pack(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """A safetensors file of `tensors`, with `facts` (of JSON's types) in its header; equal values give equal bytes."""
    own = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    return save(own, {KEY: json.dumps(facts, sort_keys=True)})


def unpack(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Tensors, on the CPU, and facts; None where a sound safetensors file has no facts of ours. Nothing is executed.

    Raises:
        ValueError: these are not the bytes of a safetensors file, or not all of them.
    """
    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        facts = json.loads(metadata[KEY]) if KEY in metadata else None
    except (SafetensorError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())[:200]) from None
    if facts is not None and not isinstance(facts, dict):
        raise ValueError(f"its facts are {type(facts).__name__}, not an object")
    return tensors, facts
