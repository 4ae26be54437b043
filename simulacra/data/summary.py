"""Words and numbers of the one-line summaries."""

from collections.abc import Sequence

NAMED = 10  # how many names a message lists


def images(count: int) -> str:
    """ "1 image", "3,670 images"."""
    return f"{count:,} image{'' if count == 1 else 's'}"


def colours(channels: int) -> str:
    """What the channels are."""
    return "RGB" if channels == 3 else "grey"


def first_names(names: Sequence[str]) -> str:
    """The first ten names, and how many more there are."""
    more = f", and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
