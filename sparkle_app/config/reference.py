"""Generates docs/settings.md: ``python -m sparkle_app.config.reference > docs/settings.md``."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from sparkle_app.config.settings import ENV_PREFIX, Settings

_INTRODUCTION = """\
# Settings

The handler reads its settings from the file that is given by `sparkle --settings FILE` or by the environment variable
`SPARKLE_SETTINGS`, otherwise from `settings.yaml` in the working directory. Without a file, the defaults apply.

Every key can also be set by an environment variable, which overrides the file. Its name is `SPARKLE_` and the key in
upper case, with `__` for each dot. Relative paths, including that of an SQLite file, are relative to the folder of the
settings file or of the symbolic link that names it, or to the working directory if there is no file. Paths that begin
with `~` are rejected: only a shell replaces it. If `plugins` is not set and its default folder does not exist, the
shipped plugins are used.

Unknown keys are rejected; the error suggests the most similar key. Variables that Kubernetes sets for Services, such
as `SPARKLE_SERVICE_HOST`, are ignored. A worker logs the most important settings at startup, and with
`log_level: DEBUG` all of them, one per line. `faust -A sparkle_app check` shows those that differ from their defaults,
with `--json` all. Secrets are masked.

This page is generated: `python -m sparkle_app.config.reference > docs/settings.md`.

| key | environment variable | default | bounds | meaning |
|---|---|---|---|---|
"""


def render() -> str:
    """The page in Markdown."""
    return _INTRODUCTION + "".join(f"| {' | '.join(row)} |\n" for row in _rows(Settings))


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, ...]]:
    meanings = _docstrings(model)
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _rows(kind, f"{prefix}{name}.")
        else:
            key = prefix + name
            variable = ENV_PREFIX + key.upper().replace(".", "__")
            yield f"`{key}`", f"`{variable}`", _default(field), _bounds(field), meanings[name]


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstring of each attribute, in one line.

    Not pydantic's ``use_attribute_docstrings``: it reads the source on import, in a third of the time that a command
    takes to start.
    """
    (definition,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)
    return {
        attribute.target.id: inspect.cleandoc(text.value.value).replace("\n", " ")
        for attribute, text in pairwise(definition.body)
        if isinstance(attribute, ast.AnnAssign) and isinstance(attribute.target, ast.Name)
        if isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        # As YAML writes it.
        value = str(value).lower()
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
    choices = [f"`{choice}`" for choice in _choices(field.annotation)]
    return ", ".join(found + pattern) or " ".join(choices)


def _choices(annotation: object) -> Iterator[str]:
    for part in get_args(annotation):
        if isinstance(part, str):
            yield part
        else:
            yield from _choices(part)


if __name__ == "__main__":
    print(render(), end="")
