"""What some games ask of a batch: labels, and rows beside it; and labels that are there."""

from torch import Tensor

from simulacra.errors import UserError
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


def require_classes(labels: Tensor, classes: int) -> None:
    """Raises UserError where one of `labels` int64 `[N]` is not a number of one of so many classes."""
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise UserError(f"classes are 0 to {classes - 1}, not {labels.unique().tolist()}")
