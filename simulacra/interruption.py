"""Ctrl-C and SIGTERM ask a run to save and leave; a second one ends it at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """`number` is the signal that asked to leave, or None."""

    number: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler: remember the first signal, give way to the second."""
        if self.number is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.number = number


@contextmanager
def watched() -> Iterator[Interruption]:
    """Inside, SIGINT and SIGTERM are remembered instead of obeyed. Only the main thread can watch."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.signal(number, interruption) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
