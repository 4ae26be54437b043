"""What the user asked of a data set, checked once and handed to whichever opener the word names."""

from dataclasses import dataclass
from typing import Literal

from simulacra.errors import UserError, unknown

SPLITS = ("train", "test")
SMALLEST = 4  # pixels: an image with a shorter side is refused


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The arguments of `open_data`.

    Raises:
        UserError: the split, size or number of channels makes no sense.
    """

    word: str
    split: str = "train"
    size: tuple[int, int] | None = None  # (H, W)
    channels: Literal[1, 3] | None = None
    skip_broken: bool = False
    stream: bool | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise unknown("split", self.split, (*SPLITS, "all"))
        if self.size is not None:
            _check_size(self.size)
        if self.channels not in (None, 1, 3):
            raise UserError(f"channels is {self.channels!r}: choose 1 (grey) or 3 (RGB)")

    @property
    def rest(self) -> str:
        """What follows the first colon of the word: a path or a name."""
        return self.word.partition(":")[2]


def _check_size(size: object) -> None:
    if not isinstance(size, tuple) or len(size) != 2 or any(type(n) is not int for n in size):
        raise UserError(f"image size is {size!r}: give height and width in whole pixels")
    if min(size) < SMALLEST:
        raise UserError(f"image size {size[0]}x{size[1]} is too small: at least {SMALLEST}x{SMALLEST} pixels")
