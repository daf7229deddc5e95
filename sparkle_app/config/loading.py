"""Loads the settings from the file and the environment, with an error of one line if they are invalid."""

import difflib
import logging
import os
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from sqlalchemy.engine import URL

from sparkle_app.config.settings import (
    ENV_PREFIX,
    RENAMED,
    Settings,
    database_url,
    is_section,
    number_bounds,
    setting_names,
)
from sparkle_app.model.errors import ConfigurationError

ENV_FILE_NAME = "SPARKLE_SETTINGS"
# SPARKLE_M_SERVER is for plugin packages, which import their server half if it is set.
_NOT_SETTINGS = {ENV_FILE_NAME, "SPARKLE_M_SERVER"}
_SERVICE_LINK = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_[A-Z]+_(PROTO|PORT|ADDR))")
_SERVICE_URL = re.compile(r"\w+_PORT(_\d+_[A-Z]+)?=[a-z]+://[\w.:\[\]]+:\d+")
logger = logging.getLogger(__name__)
_YAML_ERRORS: dict[type[Exception], str] = {
    yaml.reader.ReaderError: "a character that is not allowed",
    yaml.scanner.ScannerError: "a syntax error",
    yaml.parser.ParserError: "a syntax error",
    yaml.composer.ComposerError: "an invalid anchor or alias",
    yaml.constructor.ConstructorError: "an invalid tag or key",
}
_SECRETS = {"database.url", "web.token", "web.operator_token", "broker.sasl.password"}


def load_settings(path: Path | None = None) -> Settings:
    """Load the settings from ``path``, or the file in SPARKLE_SETTINGS, or else settings.yaml in the working directory.

    If neither is given and settings.yaml does not exist, the defaults apply.

    Raises:
        ConfigurationError: with the file or environment variable, what was expected and what was found.
    """
    named = path or os.environ.get(ENV_FILE_NAME)
    file = Path(named or "settings.yaml")
    exists = named or os.path.lexists(file)
    path = file.resolve()
    known = list(setting_names(Settings))
    for variable in os.environ:
        if variable.startswith(ENV_PREFIX) and variable not in _NOT_SETTINGS:
            key = variable.removeprefix(ENV_PREFIX).lower().replace("__", ".")
            if key not in known and key not in RENAMED and not _is_service_link(variable):
                raise _unknown(f"environment variable {variable}", key, known, _variable)
    try:
        values = _read(path) if exists else {}
        _check_sections(path, Settings, values)
        settings = Settings(**_with_new_names(path, values))
    except ValidationError as error:
        # Not chained, here and below: a traceback would print the parser's message, which may quote a secret.
        raise _invalid(path, error, known) from None
    except OSError as error:
        raise ConfigurationError(
            str(path),
            expected="a readable file",
            found=error.strerror or "none",
            hint="correct its permissions",
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise _not_yaml(path, error) from None
    except TypeError as error:
        raise ConfigurationError(
            str(path), expected="keys with values", found=str(error), hint="correct the file"
        ) from error
    settings = _absolute(path.parent, settings)
    defaults = _absolute(path.parent, Settings.model_construct())
    settings.set_source(str(path) if exists else f"defaults, in {path.parent}", defaults)
    return settings


def _is_service_link(variable: str) -> bool:
    """Whether Kubernetes sets the variable, for a Service named ``sparkle`` or ``sparkle-…``."""
    # By its value too: SPARKLE_WEB_PORT=7000 is a mistyped SPARKLE_WEB__PORT.
    return bool(
        _SERVICE_LINK.fullmatch(variable) or _SERVICE_URL.fullmatch(f"{variable}={os.environ[variable]}")
    )


def _check_sections(path: Path, model: type[BaseModel], values: dict[str, Any], prefix: str = "") -> None:
    for name, value in values.items():
        section = model.model_fields.get(name)
        if not section or not is_section(section):
            continue
        # Otherwise the section's defaults would silently replace a value that is not a mapping.
        if not isinstance(value, dict):
            raise ConfigurationError(
                f"{path}, {prefix}{name}",
                expected=f"keys such as {next(setting_names(model, prefix, only=name))}",
                # Not the value, which may be a URL or a key with a password.
                found=_type_name(value),
                hint="see docs/settings.md",
            )
        _check_sections(path, cast(type[BaseModel], section.annotation), value, f"{prefix}{name}.")


def _type_name(value: Any) -> str:
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list"}
    return "nothing" if value is None else names.get(type(value), "a single value")


def _with_new_names(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The values of the file and of deprecated environment variables, under the new names of their keys.

    Raises:
        ConfigurationError: if a key is set under both names.
    """
    values = {name: dict(value) if isinstance(value, dict) else value for name, value in values.items()}
    for old, new in RENAMED.items():
        (section, old_name), (_, new_name) = old.split("."), new.split(".")
        old_variable, new_variable = _variable(old), _variable(new)
        if old_variable in os.environ:
            where, both = f"environment variable {old_variable}", new_variable in os.environ
            value, replacement = os.environ[old_variable], new_variable
        elif old_name in values.get(section, {}):
            where, both = f"{path}, {old}", new_name in values[section]
            value, replacement = values[section].pop(old_name), new
        else:
            continue
        if both:
            raise ConfigurationError(
                where,
                expected=f"only {replacement}",
                found="both",
                hint="remove this one, which is deprecated",
            )
        logger.warning("%s is deprecated: use %s", where, replacement)
        # Environment variables override the file, and the one with the new name overrides both.
        values.setdefault(section, {}).pop(old_name, None)
        values[section][new_name] = value
    return values


def _variable(key: str) -> str:
    return ENV_PREFIX + key.upper().replace(".", "__")


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


def _read(path: Path) -> dict[str, Any]:
    """The file's keys and values."""
    if not path.is_file():
        raise ConfigurationError(
            str(path),
            expected="a settings file",
            found="none",
            hint=f"correct --settings or {ENV_FILE_NAME}, or omit it to use settings.yaml in the working directory",
        )
    with path.open("rb") as file:
        values = yaml.load(file, _Loader)
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


def _unknown(
    where: str, key: str, known: list[str], spelled: Callable[[str], str] = str
) -> ConfigurationError:
    # Without the space after the colon, PyYAML takes `password:secret` as the key.
    name, colon, _ = key.partition(":")
    where, key = where.replace(key, name), f"{name}: without a space after the colon" if colon else name
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"did you mean {spelled(nearest[0])}?" if nearest else "see docs/settings.md"
    return ConfigurationError(where, expected="a known setting", found=key, hint=hint)


def _invalid(path: Path, error: ValidationError, known: list[str]) -> ConfigurationError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    variable = _variable(key)
    where = f"environment variable {variable}" if variable in os.environ else f"{path}, {key}"
    if first["type"] == "extra_forbidden":
        return _unknown(f"{path}, {key}", key, known)
    # A secret must not be printed, even if it is invalid.
    found = "a value of the wrong type" if key in _SECRETS else repr(first["input"])
    return ConfigurationError(
        where,
        expected=number_bounds(key) or first["msg"].removeprefix("Input should be "),
        found=found,
        hint="see docs/settings.md",
    )


def absolute_url(folder: Path, url: URL) -> URL:
    """The URL of a database; that of a relative SQLite file is relative to ``folder``."""
    return url.set(database=str(folder / str(url.database))) if url.get_backend_name() == "sqlite" else url


def _absolute(folder: Path, settings: Settings) -> Settings:
    """The settings with absolute paths; relative ones are relative to the folder of the settings file."""
    url = absolute_url(folder, database_url(settings))
    database = {"url": SecretStr(url.render_as_string(hide_password=False))}
    tls = {name: folder / path for name, path in settings.broker.tls.files.items()}
    broker = {"tls": settings.broker.tls.model_copy(update=tls)}
    web_tls = {name: folder / path for name, path in settings.web.tls.files.items()}
    web = {"tls": settings.web.tls.model_copy(update=web_tls)}
    return settings.model_copy(
        update={
            "certs": folder / settings.certs,
            "plugins": _plugins_folder(folder, settings),
            "data": folder / settings.data,
            "broker": settings.broker.model_copy(update=broker),
            "database": settings.database.model_copy(update=database),
            "web": settings.web.model_copy(update=web),
        }
    )


def _plugins_folder(folder: Path, settings: Settings) -> Path:
    """The plugins folder; that of the shipped plugins if none is set and the default one does not exist."""
    plugins = folder / settings.plugins
    return (
        plugins if "plugins" in settings.model_fields_set or os.path.lexists(plugins) else shipped_plugins()
    )


def shipped_plugins() -> Path:
    """The folder of the shipped plugins: inside the installed package, or next to the package in a checkout."""
    package = Path(str(files("sparkle_app")))
    installed = package / "_shipped_plugins"
    return installed if installed.is_dir() else package.parent / "plugins"
