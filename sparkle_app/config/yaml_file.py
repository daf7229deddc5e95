"""Reads a settings file: YAML, with errors of one line that quote no value."""

from pathlib import Path
from typing import Any

import yaml

from sparkle_app.config.files import is_file
from sparkle_app.model.errors import ConfigurationError

ENV_FILE_NAME = "SPARKLE_SETTINGS"
_YAML_ERRORS: dict[type[Exception], str] = {
    yaml.reader.ReaderError: "a character that is not allowed",
    yaml.scanner.ScannerError: "a syntax error",
    yaml.parser.ParserError: "a syntax error",
    yaml.composer.ComposerError: "an invalid anchor or alias",
    yaml.constructor.ConstructorError: "an invalid tag or key",
    RecursionError: "too many nested values",
}


# Of a value that does not suit its tag, such as `!!bool maybe`.
_OTHER_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class _Loader(yaml.SafeLoader):
    """Rejects duplicate keys, of which PyYAML would silently use the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in lines:
                raise ConfigurationError(
                    f"{key.start_mark.name}, line {line}",
                    expected="each key once",
                    found=f"{key.value}, which is also in line {lines[key.value]}",
                    hint="remove one of them",
                )
            lines[key.value] = line
        return node


def read_keys(path: Path) -> dict[str, Any]:
    """The file's keys and values.

    Raises:
        ConfigurationError: if it cannot be read, or is not YAML with keys and values.
    """
    try:
        if not is_file(path):
            raise ConfigurationError(
                str(path),
                expected="a settings file",
                found="none",
                hint=f"correct --settings or {ENV_FILE_NAME}, or omit it to use settings.yaml in the working"
                " directory",
            )
        with path.open("rb") as file:
            values = yaml.load(file, _Loader)
    except OSError as error:
        raise ConfigurationError(
            str(path),
            expected="a readable file",
            found=error.strerror or "none",
            hint="correct its permissions",
        ) from error
    except (yaml.YAMLError, *_OTHER_ERRORS) as error:
        # Not chained: a traceback would print the parser's message, which may quote a secret.
        raise _not_yaml(path, error) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigurationError(
            str(path),
            expected="keys with values, such as app_id: sparkle",
            found="a list" if isinstance(values, list) else "a single value",
            hint="see docs/settings.md",
        )
    return values


def _not_yaml(path: Path, error: Exception) -> ConfigurationError:
    """The kind of a YAML error and its place. PyYAML's own message quotes the value, which may be a secret."""
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    found = next((text for kind, text in _YAML_ERRORS.items() if isinstance(error, kind)), "an invalid value")
    return ConfigurationError(
        f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path),
        expected="YAML",
        found=found,
        hint="quote a value that contains special characters, such as * ! & % @ # or a colon",
    )
