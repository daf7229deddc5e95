"""docs/settings.md, from the settings' own code: ``python -m sparkle_app.config.reference > docs/settings.md``."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from sparkle_app.config.settings import ENV_PREFIX, Settings

_INTRODUCTION = """\
# Settings

The handler reads the file that `sparkle --settings FILE` or the environment variable `SPARKLE_SETTINGS` names, or else
`settings.yaml` of the working folder. Without a file the defaults apply. Every key can also be set in the environment,
which goes before the file: write the key in capitals after `SPARKLE_`, with `__` for each dot. Paths, also that of an
SQLite file, are relative to the folder of the settings file, or to the working folder without a file. Where `plugins`
is not set and there is no such folder, the shipped plugins are used. Unknown keys are refused, with the nearest known
one. A worker logs its effective settings at start, secrets masked; so does `faust -A sparkle_app check`.

This page is made from the code: `python -m sparkle_app.config.reference > docs/settings.md`.

| key | environment variable | default | bounds | meaning |
|---|---|---|---|---|
"""


def render() -> str:
    """The whole page, Markdown."""
    return _INTRODUCTION + "".join(f"| {' | '.join(row)} |\n" for row in _rows(Settings))


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _rows(kind, f"{prefix}{name}.")
        else:
            key = prefix + name
            variable = ENV_PREFIX + key.upper().replace(".", "__")
            meaning = (field.description or "").replace("\n", " ")
            yield f"`{key}`", f"`{variable}`", _default(field), _bounds(field), meaning


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return "none" if value is None else f"`{value}`"


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(each, name)}"
        for each in field.metadata
        for name, sign in signs.items()
        if getattr(each, name, None) is not None
    ]
    pattern = [f"`{each.pattern}`" for each in field.metadata if getattr(each, "pattern", None)]
    words = [f"`{choice}`" for choice in _choices(field.annotation)]
    return ", ".join(found + pattern) or " ".join(words)


def _choices(annotation: object) -> Iterator[str]:
    for part in get_args(annotation):
        if isinstance(part, str):
            yield part
        else:
            yield from _choices(part)


if __name__ == "__main__":
    print(render(), end="")
