"""Reads the manifests of plugin packages without importing the packages, whose requirements may be missing."""

import ast
import runpy
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from sparkle_app.config.files import is_file
from sparkle_app.kafka.topology import LEGAL_TOPIC
from sparkle_app.model.errors import ConfigurationError

# Collectors send it, so any script is valid. It is a part of URLs.
_MAX_NAME_CHARACTERS = 100
# Clients take these names for folders, and Kafka refuses them for topics.
_FOLDERS = (".", "..")
# Lists of hosts can be sorted by these, and by the NAME of a plugin.
_RESERVED_NAMES = (*_FOLDERS, "host", "state", "last_seen")
_FILES_OF_A_PLUGIN = ("manifest.py", "server.py", "main.py")


@dataclass(frozen=True)
class Manifest:
    """The manifest of a plugin package."""

    folder: Path
    name: str
    """NAME, which payloads contain."""
    version: str
    author: str
    topic: str
    """The topic to which its readings are produced."""
    description: str
    panel: Any = field(default_factory=dict)
    """PANEL as it stands there: how its values are shown."""


@dataclass(frozen=True)
class Packages:
    """The packages of a plugins folder, by NAME."""

    manifests: list[Manifest]
    errors: list[ConfigurationError]
    """One for each package whose manifest is invalid, or that has no ``__init__.py``."""
    warnings: list[str]
    """One for each package that is not used because of another one with the same NAME."""


def find_packages(folder: Path) -> Packages:
    """Read the manifests of all packages in a plugins folder.

    Raises:
        ConfigurationError: if the folder cannot be read.
    """
    try:
        folders = sorted(path for path in folder.iterdir() if path.name[0] not in "._")
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise ConfigurationError(
            str(folder),
            expected="a folder of plugins",
            found="no such folder" if missing else error.strerror or str(error),
            hint="make it readable for the user of the worker"
            if isinstance(error, PermissionError)
            else "correct the setting `plugins`, or remove it to use the shipped plugins",
        ) from error
    best: dict[str, Manifest] = {}
    errors: list[ConfigurationError] = []
    warnings: list[str] = []
    for package in folders:
        try:
            if not is_file(package / "__init__.py"):
                if any(is_file(package / name) for name in _FILES_OF_A_PLUGIN):
                    errors.append(_without_init(package))
                continue
            if "." in package.name:
                errors.append(_no_package_name(package))
                continue
            manifest = read_manifest(package)
        except PermissionError as error:
            errors.append(_unreadable(package, error))
            continue
        except ConfigurationError as error:
            errors.append(error)
            continue
        other = best.get(manifest.name)
        if other is None:
            best[manifest.name] = manifest
            continue
        used, unused = (manifest, other) if _rank(manifest) > _rank(other) else (other, manifest)
        best[manifest.name] = used
        same = Version(used.version) == Version(unused.version)
        warnings.append(
            f"plugin {manifest.name}: {unused.folder} (version {unused.version}) is not used,"
            f" because {used.folder} has {'the same version' if same else f'version {used.version}'}"
        )
    return Packages([best[name] for name in sorted(best)], errors, warnings)


def _rank(manifest: Manifest) -> tuple[Version, bool]:
    """Of packages with one NAME, that with the highest rank is used; of equal ones, the first."""
    return Version(manifest.version), manifest.folder.name.casefold() == manifest.name.casefold()


def read_manifest(package: Path) -> Manifest:
    """Read one package's manifest.

    Arguments:
        package: the package's folder.

    Raises:
        ConfigurationError: if the manifest is invalid.
    """
    has_manifest = is_file(package / "manifest.py")
    file = package / ("manifest.py" if has_manifest else "__init__.py")
    where = f"plugin {package.name} ({file})"
    try:
        # What it prints is no part of a command's output.
        with redirect_stdout(sys.stderr):
            names = runpy.run_path(str(file)) if has_manifest else _constants(file)
    except PermissionError as error:
        raise _unreadable(package, error) from error
    # A manifest may raise any exception, and even call sys.exit().
    except (Exception, SystemExit) as error:
        found = f"{type(error).__name__}: {error}"
        raise ConfigurationError(
            where, expected="plain assignments", found=" ".join(found.split()), hint="see docs/plugins.md"
        ) from error

    def text(name: str, default: str | None = None) -> str:
        value: Any = names.get(name, default)
        if isinstance(value, int | float) and not isinstance(value, bool):
            # VERSION = 1.0
            value = str(value)
        if not isinstance(value, str) or (default is None and not value):
            raise ConfigurationError(
                where, expected=f"{name} as a string", found=repr(value), hint="see docs/plugins.md"
            )
        return value

    manifest = Manifest(
        package,
        text("NAME"),
        text("VERSION"),
        text("AUTHOR"),
        text("TOPIC", "telemetry"),
        text("DESCRIPTION", ""),
        names.get("PANEL", {}),
    )
    valid = (
        manifest.name.isprintable()
        and "/" not in manifest.name
        and manifest.name.strip() == manifest.name
        and manifest.name not in _RESERVED_NAMES
        # A dash reverses an order.
        and not manifest.name.startswith("-")
    )
    for name, value, matches, expected in (
        (
            "NAME",
            manifest.name,
            valid and len(manifest.name) <= _MAX_NAME_CHARACTERS,
            f"1 to {_MAX_NAME_CHARACTERS} printable characters without '/', no '-' at the start, and none of"
            f" {', '.join(map(repr, _RESERVED_NAMES))}",
        ),
        (
            "TOPIC",
            manifest.topic,
            LEGAL_TOPIC.fullmatch(manifest.topic) and manifest.topic not in _FOLDERS,
            "letters, digits, '.', '_' and '-' only, and neither '.' nor '..'",
        ),
    ):
        if not matches:
            raise ConfigurationError(
                where, expected=f"{name} with {expected}", found=repr(value), hint="correct it"
            )
    try:
        Version(manifest.version)
    except InvalidVersion as error:
        raise ConfigurationError(
            where, expected="VERSION such as 1.0.0", found=repr(manifest.version), hint="correct it"
        ) from error
    return manifest


def _no_package_name(package: Path) -> ConfigurationError:
    return ConfigurationError(
        f"plugin {package.name} ({package})",
        expected="a folder without '.' in its name",
        found=repr(package.name),
        hint="rename it, or move a copy out of the plugins folder",
    )


def _without_init(package: Path) -> ConfigurationError:
    # By its NAME, by which `try-plugin` looks for it.
    name = read_manifest(package).name if is_file(package / "manifest.py") else package.name
    return ConfigurationError(
        f"plugin {name} ({package})", expected="__init__.py", found="none", hint="see docs/plugins.md"
    )


def _unreadable(package: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"plugin {package.name} ({error.filename or package})",
        expected="a readable package",
        found=error.strerror or str(error),
        hint="make it readable for the user of the worker",
    )


def _constants(file: Path) -> dict[str, Any]:
    """Constants that a file assigns. Packages for the earlier handler may have their manifest in ``__init__.py``."""
    names: dict[str, Any] = {}
    for statement in ast.parse(file.read_text("utf-8"), str(file)).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            names.update(
                (each.id, statement.value.value) for each in statement.targets if isinstance(each, ast.Name)
            )
    return names
