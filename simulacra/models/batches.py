"""What some games ask of a batch: labels, and rows beside it."""

from torch import Tensor

from simulacra.game import Rows


def labels_of(batch: Rows) -> Tensor:
    """The labels int64 `[N]` of a batch. Raises ValueError where it has none."""
    labels = getattr(batch, "labels", None)
    if labels is None:
        raise ValueError("this game is played on batches with labels")
    return labels


def beside_of(batch: Rows) -> Rows:
    """As many rows that come beside a batch. Raises ValueError where there are none."""
    beside = getattr(batch, "beside", None)
    if beside is None:
        raise ValueError("this game is played on batches with other rows beside them")
    return beside
