"""Typed settings: what a recipe or a model may be told, checked when it is told."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from simulacra.errors import UserError, unknown

C = TypeVar("C", bound="Config")


def _split(value: Any) -> Any:
    """Text with commas as words."""
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Names, also as one text with commas between them."""


class Config(BaseModel):
    """A frozen record of named settings; unknown names and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

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
            if first["type"] == "missing":
                raise UserError(f"{what}: '{path}' is missing") from None
            given = json.dumps(first["input"], default=str)
            raise UserError(f"{what}: '{path}' {_plain(first)}, not {given}") from None

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
        known = [name for name, _ in self.settings()]
        for dotted, text in overrides.items():
            if dotted not in known:
                raise unknown(f"option of {what}", dotted, known)
            *path, leaf = dotted.split(".")
            branch = tree
            for part in path:
                branch = branch[part]
            branch[leaf] = _value(text) if isinstance(text, str) else text
        return self.read(tree, what)


def _value(text: str) -> Any:
    """A command-line word as JSON where it is JSON, a list where it has commas, and the word itself otherwise."""
    try:
        return json.loads(f"[{text}]" if "," in text else text)
    except (ValueError, RecursionError):
        return text


def _plain(error: Any) -> str:
    message = error["msg"]
    return message.removeprefix("Input ") if message.startswith("Input ") else f"is refused: {message}"
