"""Typed settings: what a recipe or a model may be told, checked when it is told."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from simulacra.errors import UserError, unknown

C = TypeVar("C", bound="Config")


def _split(value: Any) -> Any:
    """Text with commas as words."""
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Names, also as one text with commas between them."""


def _alone(value: Any) -> Any:
    """A number by itself as a tuple of one."""
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


Numbers = Annotated[tuple[float, ...], BeforeValidator(_alone)]
"""Any number of numbers, also one by itself."""
Shares = Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], ...], BeforeValidator(_alone)]
"""Shares of something, each from 0 to below 1, layer by layer; also one layer's by itself."""
Sizes = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_alone)]
"""How many units there are, layer by layer; also one layer's by itself."""


LARGEST = 2**63 - 1
"""What a machine's integers go up to."""


class Config(BaseModel):
    """A frozen record of named settings; unknown names and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _require_machine_numbers(self) -> Self:
        for name, value in self:
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(number, int) and not -LARGEST <= number <= LARGEST for number in numbers):
                raise ValueError(f"'{name}' is larger than any machine's integers, {LARGEST:.1e}")
        return self

    @classmethod
    def read(cls, values: Mapping[str, Any], what: str) -> Self:
        """Build from `values`. Raises UserError naming the first field that does not fit, and `what` it belongs to."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            path = " ".join(".".join(str(part) for part in first["loc"]).split())
            if first["type"] == "extra_forbidden":
                raise unknown(f"setting of {what}", path, (name for name, _ in cls.settings())) from None
            if first["type"] == "value_error":
                said = first["msg"].removeprefix("Value error, ")
                raise UserError(": ".join([what, *[path] * bool(path), said])) from None
            shape = _misshapen(cls, first)
            if first["type"] == "missing" and not shape:
                raise UserError(f"{what}: '{path}' is missing") from None
            given = json.dumps(first["input"], default=str)
            refused = shape or f"'{path}' {_plain(first)}"
            raise UserError(f"{what}: {refused}, not {given}") from None

    @classmethod
    def settings(cls, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Every setting as (dotted name, field), nested records flattened."""
        for name, field in cls.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Config):
                yield from field.annotation.settings(f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", field

    def part(self, kind: type[C], **fixed: Any) -> C:
        """Those of these settings that `kind` has too and that are not None, with `fixed`, as a `kind`."""
        shared = {name: getattr(self, name) for name in type(self).model_fields.keys() & kind.model_fields.keys()}
        return kind.model_validate({name: value for name, value in shared.items() if value is not None} | fixed)

    def with_overrides(self, overrides: Mapping[str, Any], what: str) -> Self:
        """A copy with dotted names replaced; text is read as on a command line. Raises UserError as `read` does."""
        tree = self.model_dump()
        known = dict(self.settings())
        for dotted, text in overrides.items():
            if dotted not in known:
                raise unknown(f"option of {what}", dotted, known)
            *path, leaf = dotted.split(".")
            branch = tree
            for part in path:
                branch = branch[part]
            branch[leaf] = _value(text, known[dotted].annotation) if isinstance(text, str) else text
        return self.read(tree, what)


def _value(text: str, kind: Any) -> Any:
    """A command-line word for a setting of a `kind`: itself where that takes text (but for null), else as JSON where
    it is JSON, a list where it has commas, and otherwise the word itself."""
    if kind is str or (str in get_args(kind) and text != "null"):
        return text
    try:
        return json.loads(f"[{text}]" if "," in text else text)
    except (ValueError, RecursionError):
        return text


COUNTS = ("no", "one", "two", "three", "four", "five", "six")


def _misshapen(kind: type[Config], error: Any) -> str:
    """What a setting should be that takes so many numbers, where it was given other ones; else empty."""
    names = [part for part in error["loc"] if isinstance(part, str)]
    absent = error["type"] == "missing" and len(names) < len(error["loc"])
    field = dict(kind.settings()).get(".".join(names))
    if field is None or not (absent or error["type"] in ("tuple_type", "too_long")):
        return ""
    default = kind.model_fields[names[0]].default
    for name in names[1:]:
        default = getattr(default, name, field.default)
    numbers = _so_many(field.annotation, default)
    return numbers and f"'{'.'.join(names)}' should be {numbers}"


def _so_many(kind: Any, default: Any) -> str:
    """`two numbers, like 0.5,0.9` for a tuple type of a fixed number of numbers; else empty."""
    members = [get_args(each)[0] if get_origin(each) is Annotated else each for each in get_args(kind)]
    if get_origin(kind) is not tuple or not members or not {*members} <= {int, float}:
        return ""
    count = COUNTS[len(members)] if len(members) < len(COUNTS) else len(members)
    example = default if isinstance(default, tuple) else range(1, len(members) + 1)
    return f"{count} {'whole ' if {*members} == {int} else ''}numbers, like {','.join(map(str, example))}"


def _plain(error: Any) -> str:
    message = error["msg"]
    if error["type"] in ("too_short", "too_long"):
        least, most = (error["ctx"].get(f"{which}_length") for which in ("min", "max"))
        return f"should be {f'{least} numbers or more' if most is None else f'{most} numbers or fewer'}"
    return message.removeprefix("Input ") if message.startswith("Input ") else f"is refused: {message}"
