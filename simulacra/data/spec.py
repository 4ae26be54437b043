"""What one row of a data set looks like: the only thing a model needs to know about its data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from simulacra.errors import UserError

Kind = Literal["image", "vector"]
RANKS = {"image": 3, "vector": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """Kind, shape and class names of a data set's rows.

    Images are stored as uint8 and become float32 in [-1, 1] (x / 127.5 - 1) in a batch; vectors are float32.

    Attributes:
        kind: "image" or "vector".
        shape: (C, H, W) for images, (D,) for vectors.
        classes: class names by label, or None where there are no labels.

    Raises:
        UserError: a field has a wrong type, or a size is not positive.
    """

    kind: Kind
    shape: tuple[int, ...]
    classes: tuple[str, ...] | None

    def __post_init__(self) -> None:
        _check_kind(self.kind)
        _check_shape(self.kind, self.shape)
        _check_classes(self.classes)

    @property
    def channels(self) -> int:
        """C of an image; raises UserError for a vector."""
        return self._image_size(0)

    @property
    def height(self) -> int:
        """H of an image in pixels; raises UserError for a vector."""
        return self._image_size(1)

    @property
    def width(self) -> int:
        """W of an image in pixels; raises UserError for a vector."""
        return self._image_size(2)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W). Raises UserError for vectors."""
        return self.channels, self.height, self.width

    @property
    def numel(self) -> int:
        """Numbers in one row: C * H * W, or D."""
        return math.prod(self.shape)

    def as_dict(self) -> dict[str, Any]:
        """The spec in JSON's types; `Spec.from_dict` reads it back."""
        classes = None if self.classes is None else list(self.classes)
        return {"kind": self.kind, "shape": list(self.shape), "classes": classes}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Spec":
        """Read what `as_dict` wrote.

        Raises:
            UserError: a field is missing, unknown or wrong; the message names it.
        """
        if not isinstance(fields, Mapping):
            raise UserError(f"data spec: expected a mapping of fields, not {type(fields).__name__}")
        _check_keys(fields)
        shape, classes = fields["shape"], fields["classes"]
        return cls(
            kind=fields["kind"],
            shape=tuple(shape) if isinstance(shape, list) else shape,
            classes=tuple(classes) if isinstance(classes, list) else classes,
        )

    def _image_size(self, axis: int) -> int:
        if self.kind != "image":
            raise UserError(
                f"data of shape {self.shape} are vectors, not images: they have no channels, height or width"
            )
        return self.shape[axis]


def _check_keys(fields: Mapping[str, Any]) -> None:
    known = ("kind", "shape", "classes")
    for name in known:
        if name not in fields:
            raise UserError(f"data spec: field '{name}' is missing")
    for name in fields:
        if name not in known:
            raise UserError(f"data spec: unknown field {name!r} (known: {', '.join(known)})")


def _check_kind(kind: object) -> None:
    if not isinstance(kind, str) or kind not in get_args(Kind):
        raise UserError(f"data spec: field 'kind' is {kind!r}, expected one of {', '.join(get_args(Kind))}")


def _check_shape(kind: Kind, shape: object) -> None:
    if not isinstance(shape, tuple) or any(type(n) is not int or n < 1 for n in shape):
        raise UserError(f"data spec: field 'shape' is {shape!r}, expected positive whole numbers")
    if len(shape) != RANKS[kind]:
        expected = "(C, H, W)" if kind == "image" else "(D,)"
        raise UserError(f"data spec: field 'shape' is {shape!r}, expected {expected} for kind '{kind}'")


def _check_classes(classes: object) -> None:
    if classes is None:
        return
    if not isinstance(classes, tuple) or not classes or any(not isinstance(name, str) for name in classes):
        raise UserError(f"data spec: field 'classes' is {classes!r}, expected class names or null")
