"""Imports the installed plugins. A plugin that cannot be loaded is reported by name; the others are loaded."""

import importlib
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from sqlalchemy import Table
from sqlalchemy.engine import URL

from sparkle_app.kafka.topology import TopicSpec, topic_specs
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.declared_tables import (
    check_creation,
    left_out_warnings,
    remove_tables,
    tables_of_package,
)
from sparkle_app.plugin.default_tables import check_tables
from sparkle_app.plugin.legacy import adapt_legacy
from sparkle_app.plugin.manifest import Manifest, find_packages
from sparkle_app.plugin.panel import Panel, parse_panel, with_bounds
from sparkle_app.plugin.table_names import copies
from sparkle_app.plugin.value_types import check_declared, check_value_type
from sparkle_app.plugin_api import Plugin
from sparkle_app.runtime.terminal import is_utf8
from sparkle_app.storage.creation import SCRATCH, max_name
from sparkle_app.storage.migrations.branches import Branch, core_branch, plugin_branch
from sparkle_app.storage.models import Base

# If it is set, packages import their server half instead of their collecting half.
SERVER_FLAG = "SPARKLE_M_SERVER"


@dataclass(frozen=True)
class InstalledPlugin:
    """A loaded plugin: its manifest and its server half."""

    manifest: Manifest
    plugin: Plugin
    panel: Panel = field(default_factory=Panel)
    """How its values are shown."""
    branch: Branch | None = None
    """The revisions of its tables, if it ships any."""
    tables: tuple[Table, ...] = ()
    """The tables that its package declares."""

    @property
    def where(self) -> str:
        """For messages: the plugin and its folder."""
        return _where(self.manifest)

    @property
    def name(self) -> str:
        """NAME, which payloads contain."""
        return self.manifest.name


@dataclass
class InstalledPlugins:
    """The plugins that were found in the plugins folder."""

    installed: dict[str, InstalledPlugin] = field(default_factory=dict)
    """By NAME."""
    errors: list[ConfigurationError] = field(default_factory=list)
    """One for each package that cannot be loaded."""
    warnings: list[str] = field(default_factory=list)
    """For example, that a package is not used because there is a higher version of it."""

    @property
    def by_name(self) -> dict[str, Plugin]:
        """The server halves by NAME."""
        return {name: plugin.plugin for name, plugin in self.installed.items()}

    def topic_specs(self, app_id: str, resolution: int) -> list[TopicSpec]:
        """All topics that a worker needs; ``resolution`` is the bucket size in seconds."""
        return topic_specs(app_id, self.topics, self.installed, resolution)

    @property
    def branches(self) -> list[Branch]:
        """The revisions of the handler, and those of the plugins."""
        own = (plugin.branch for plugin in self.installed.values())
        return [core_branch(), *(branch for branch in own if branch)]

    @property
    def readings(self) -> dict[str, Table]:
        """The tables of readings by NAME of the plugin, of those that declare one."""
        models = {name: getattr(plugin, "DataFrame", None) for name, plugin in self.by_name.items()}
        tables = {name: getattr(model, "__table__", None) for name, model in models.items()}
        return {name: table for name, table in tables.items() if table is not None}

    @property
    def topics(self) -> list[str]:
        """The plugin topics, without repetitions."""
        return sorted({plugin.manifest.topic for plugin in self.installed.values()})


def load_plugins(folder: Path, database: URL = SCRATCH) -> InstalledPlugins:
    """Import every package of the plugins folder.

    Arguments:
        folder: contains one folder for each package.
        database: a package with tables that cannot be created there is not used.
    """
    os.environ[SERVER_FLAG] = "1"
    # Packages are imported as plugins.<package>, as on hosts, wherever their folder is.
    parent = sys.modules.setdefault("plugins", ModuleType("plugins"))
    parent.__path__ = [str(folder)]
    found = find_packages(folder)
    plugins = InstalledPlugins(errors=list(found.errors), warnings=list(found.warnings))
    copied = copies(found.manifests)
    plugins.errors.extend(copied.values())
    for manifest in found.manifests:
        if manifest.name in copied:
            continue
        before = set(Base.metadata.tables)
        try:
            # What a package prints is no part of a command's output.
            with redirect_stdout(sys.stderr):
                # Before the import: a package that is not used must not declare tables.
                branch = plugin_branch(manifest.name, manifest.folder)
                _refuse_same_ids(manifest, branch, plugins)
                installed = _installed(manifest, branch, database, before)
                warnings = [*_deprecated_in(installed), *left_out_warnings(installed.plugin, installed.where)]
        except ConfigurationError as error:
            _refuse(plugins, error, tables_of_package(manifest.folder.name, before))
        # What a plugin declares may be anything, and raise anything where it is used.
        except Exception as error:
            unusable = _unusable(manifest, "a plugin as described in docs/plugins.md", error)
            _refuse(plugins, unusable, tables_of_package(manifest.folder.name, before))
        else:
            plugins.installed[manifest.name] = installed
            plugins.warnings += warnings
    while _refuse_uncreatable(plugins, database):
        # Tables of others may refer to those that were removed.
        pass
    return plugins


def _refuse_uncreatable(plugins: InstalledPlugins, database: URL) -> bool:
    """Refuse the plugins whose tables the database cannot create; returns whether there is any."""
    refused: dict[str, ConfigurationError] = {}
    for name, installed in plugins.installed.items():
        try:
            check_creation(installed.tables, database, installed.where)
        except ConfigurationError as error:
            refused[name] = error
    for name, cause in refused.items():
        _refuse(plugins, cause, plugins.installed.pop(name).tables)
    return bool(refused)


def _refuse(plugins: InstalledPlugins, error: ConfigurationError, tables: Iterable[Table]) -> None:
    plugins.errors.append(error)
    remove_tables(tables)


def _where(manifest: Manifest) -> str:
    return f"plugin {manifest.name} ({manifest.folder})"


def _unusable(manifest: Manifest, expected: str, error: BaseException) -> ConfigurationError:
    return ConfigurationError(
        _where(manifest),
        expected=expected,
        found=f"{type(error).__name__}: {' '.join(str(error).split())}",
        hint="repair or remove the package",
    )


def _deprecated_in(installed: InstalledPlugin) -> Iterator[str]:
    """Warnings about methods that a plugin overrides under their deprecated names."""
    for old, new in installed.plugin.deprecated.items():
        yield f"{installed.where}: the method `{old}` is deprecated, rename it to `{new}`"


def no_plugins(folder: Path) -> ConfigurationError:
    """The error of a worker that finds no plugin."""
    return ConfigurationError(
        str(folder), expected="a plugin", found="none that can be used", hint="see docs/plugins.md"
    )


def _refuse_same_ids(manifest: Manifest, branch: Branch | None, plugins: InstalledPlugins) -> None:
    for other in plugins.installed.values():
        if branch and other.branch and branch.prefix == other.branch.prefix:
            raise ConfigurationError(
                _where(manifest),
                expected="ids of revisions that no other plugin has",
                found=f"{branch.base}, as in {other.where}",
                hint="rename the revisions of this plugin",
            )


def _installed(
    manifest: Manifest, branch: Branch | None, database: URL, before: Collection[str]
) -> InstalledPlugin:
    for name, text in (("AUTHOR", manifest.author), ("DESCRIPTION", manifest.description)):
        if not is_utf8(text):
            raise ConfigurationError(
                _where(manifest),
                expected=f"{name} without lone surrogates",
                found=repr(text)[:100],
                hint="correct it",
            )
    try:
        panel = parse_panel(manifest.panel)
    except ValueError as error:
        raise ConfigurationError(
            _where(manifest),
            expected="PANEL as described in docs/plugins.md",
            found=str(error),
            hint="correct it",
        ) from error
    plugin = _import(manifest, database)
    tables = tuple(tables_of_package(manifest.folder.name, before))
    return InstalledPlugin(
        manifest, plugin, with_bounds(panel, plugin.minimum, plugin.maximum), branch, tables
    )


def _import(manifest: Manifest, database: URL) -> Plugin:
    where = _where(manifest)
    try:
        module = importlib.import_module(f"plugins.{manifest.folder.name}")
    # A package may raise any exception, and even call sys.exit().
    except (Exception, SystemExit) as error:
        raise _unusable(manifest, "a package that can be imported", error) from error
    plugin = getattr(module, "plugin", None) or adapt_legacy(module, manifest.name, max_name(database))
    if not isinstance(plugin, Plugin):
        raise ConfigurationError(
            where,
            expected="`plugin` in __init__.py, an instance of sparkle_app.plugin_api.Plugin",
            found=type(plugin).__name__ if plugin is not None else "none",
            hint="see docs/plugins.md",
        )
    check_tables(plugin, where)
    check_declared(plugin, where)
    check_value_type(plugin, where)
    return plugin
