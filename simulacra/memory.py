"""Out of memory: tell it from other errors, and find what would have fitted."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

PHRASES = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "storage size calculation overflowed",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in PHRASES)


def micro_batches_that_fit(attempt: Callable[[int], None], numbers: Iterable[int]) -> int | None:
    """The first of these numbers of micro-batches with which `attempt(number)` stays within memory."""
    for number in numbers:
        release()
        try:
            attempt(number)
            return number
        except Exception as error:
            if not is_out_of_memory(error):
                raise
    return None


def doubling(numbers: Sequence[int], start: int) -> Iterator[int]:
    """Of ascending numbers: each that is at least twice the one before, the first of them twice `start`, and the
    last."""
    for number in numbers:
        if number >= 2 * start or number == numbers[-1]:
            yield (start := number)


def release() -> None:
    """Give back what can be given back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
