"""Out of memory: tell it from other errors, and find what would have fitted."""

import gc
from collections.abc import Callable

import torch

PHRASES = ("out of memory", "can't allocate memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in PHRASES)


def micro_batches_that_fit(attempt: Callable[[int], None], batch: int, tried: int) -> int | None:
    """The smallest number of micro-batches, doubling from `tried`, with which `attempt(number)` stays within memory."""
    number = tried
    while number < batch:
        number = min(number * 2, batch)
        release()
        try:
            attempt(number)
            return number
        except Exception as error:
            if not is_out_of_memory(error):
                raise
    return None


def release() -> None:
    """Give back what can be given back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
