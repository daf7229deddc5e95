"""Loads the settings from the file and the environment, with an error of one line if they are invalid."""

import difflib
import logging
import os
import re
import reprlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import SettingsError
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
from sparkle_app.config.yaml_file import ENV_FILE_NAME, read_keys
from sparkle_app.model.errors import ConfigurationError

# SPARKLE_M_SERVER is for plugin packages, which import their server half if it is set.
_NOT_SETTINGS = {ENV_FILE_NAME, "SPARKLE_M_SERVER"}
_SERVICE_LINK = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_[A-Z]+_(PROTO|PORT|ADDR))")
_SERVICE_URL = re.compile(r"\w+_PORT(_\d+_[A-Z]+)?=[a-z]+://[\w.:\[\]]+:\d+")
logger = logging.getLogger(__name__)
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
    # Unlike Path.resolve(), this raises nothing if symbolic links form a loop. The folder of a link counts, not that of
    # its target: the files of a ConfigMap of Kubernetes are links to a folder that is another after each update.
    path = Path(os.path.realpath(file.parent), file.name)
    known = list(setting_names(Settings))
    for variable in os.environ:
        if variable.startswith(ENV_PREFIX) and variable not in _NOT_SETTINGS:
            key = variable.removeprefix(ENV_PREFIX).lower().replace("__", ".")
            if key not in known and key not in RENAMED and not _is_service_link(variable):
                raise _unknown(f"environment variable {variable}", key, known, _variable)
    values = read_keys(path) if exists else {}
    _check_keys(path, values, known)
    _check_sections(path, Settings, values)
    try:
        settings = Settings(**_with_new_names(path, values))
    except ValidationError as error:
        # Not chained, here and below: a traceback would print the message, which may quote a secret.
        raise _invalid(path, error, known) from None
    except SettingsError as error:
        raise _not_json(error) from None
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


def _check_keys(path: Path, values: dict[str, Any], known: list[str]) -> None:
    """Raise ConfigurationError for a key that is no setting: BaseSettings has options, such as ``_env_file``."""
    for name in values:
        if not isinstance(name, str):
            raise ConfigurationError(
                str(path),
                expected="keys with values, such as app_id: sparkle",
                found=f"the key {_shown(name)}",
                hint="see docs/settings.md",
            )
        if name not in Settings.model_fields:
            raise _unknown(f"{path}, {name}", name, known)


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
    where = _source(path, key)
    if first["type"] == "extra_forbidden":
        return _unknown(where, key, known)
    # A secret must not be printed, even if it is invalid.
    found = "another value, which is not shown" if key in _SECRETS else _shown(first["input"])
    expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return ConfigurationError(
        where,
        expected=number_bounds(key) or expected,
        found=found,
        hint="see docs/settings.md",
    )


def _source(path: Path, key: str) -> str:
    """Where a value comes from: an environment variable, which may contain other keys, or the file."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        variable = _variable(".".join(parts[:length]))
        if variable in os.environ:
            where = f"environment variable {variable}"
            return where if length == len(parts) else f"{where}, {key}"
    return f"{path}, {key}"


def _not_json(error: SettingsError) -> ConfigurationError:
    """The error for an environment variable from which pydantic-settings reads JSON."""
    text = getattr(error.__cause__, "doc", None)
    variable = next((name for name, value in os.environ.items() if value == text), f"{ENV_PREFIX}…")
    return ConfigurationError(
        f"environment variable {variable}",
        expected="JSON",
        found="a syntax error",
        hint="see docs/settings.md",
    )


def _shown(value: Any) -> str:
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = 100
    return shown.repr(value)


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
