"""Imports the installed plugins. A plugin that cannot be loaded is reported by name; the others are loaded."""

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from sqlalchemy import Table

from sparkle_app.kafka.topology import TopicSpec, topic_specs
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.default_tables import check_tables
from sparkle_app.plugin.legacy import adapt_legacy
from sparkle_app.plugin.manifest import Manifest, find_packages
from sparkle_app.plugin.panel import Panel, parse_panel, with_bounds
from sparkle_app.plugin.table_names import copies
from sparkle_app.plugin.value_types import check_declared, check_value_type
from sparkle_app.plugin_api import Plugin
from sparkle_app.runtime.terminal import is_utf8
from sparkle_app.storage.data_tables import data_table, key_to_view, left_out
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


def load_plugins(folder: Path) -> InstalledPlugins:
    """Import every package of the plugins folder.

    Arguments:
        folder: contains one folder for each package.
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
        try:
            # Before the import: a package that is not used must not declare tables.
            branch = plugin_branch(manifest.name, manifest.folder)
            _refuse_same_ids(manifest, branch, plugins)
            installed = _installed(manifest, branch)
            warnings = [*_deprecated_in(installed), *_left_out_of(installed)]
        except ConfigurationError as error:
            plugins.errors.append(error)
        # What a plugin declares may be anything, and raise anything where it is used.
        except Exception as error:
            plugins.errors.append(_unusable(manifest, "a plugin as described in docs/plugins.md", error))
        else:
            plugins.installed[manifest.name] = installed
            plugins.warnings += warnings
    return plugins


def _unusable(manifest: Manifest, expected: str, error: BaseException) -> ConfigurationError:
    return ConfigurationError(
        f"plugin {manifest.name} ({manifest.folder})",
        expected=expected,
        found=f"{type(error).__name__}: {' '.join(str(error).split())}",
        hint="repair or remove the package",
    )


def _refuse_key_to_view(where: str, table: Table) -> None:
    if key := key_to_view(table):
        # Otherwise no table could be created.
        table.metadata.remove(table)
        target = key.rpartition("> ")[2].rpartition(".")[0]
        raise ConfigurationError(
            where,
            expected=f"foreign keys to tables; the rows of {target} are in {target}_data",
            found=f"{table.name}.{key}, a view",
            hint=f'write ForeignKey("{target}_data.id")',
        )


def _deprecated_in(installed: InstalledPlugin) -> Iterator[str]:
    """Warnings about methods that a plugin overrides under their deprecated names."""
    where = f"plugin {installed.name} ({installed.manifest.folder})"
    for old, new in installed.plugin.deprecated.items():
        yield f"{where}: the method `{old}` is deprecated, rename it to `{new}`"


def _left_out_of(installed: InstalledPlugin) -> Iterator[str]:
    """Warnings about indexes and constraints that a plugin declares, and that its tables do not have."""
    for model in ("DataFrame", "Aggregates"):
        if (table := getattr(getattr(installed.plugin, model, None), "__table__", None)) is None:
            continue
        for each in left_out(table):
            yield (
                f"plugin {installed.name} ({installed.manifest.folder}): not created: {each}: rows are stored in"
                f" {data_table(table).name}, where series_id stands for hostname and metric, which have an index;"
                " remove it, or use series_id in a revision of the plugin"
            )


def no_plugins(folder: Path) -> ConfigurationError:
    """The error of a worker that finds no plugin."""
    return ConfigurationError(
        str(folder), expected="a plugin", found="none that can be used", hint="see docs/plugins.md"
    )


def _refuse_same_ids(manifest: Manifest, branch: Branch | None, plugins: InstalledPlugins) -> None:
    for other in plugins.installed.values():
        if branch and other.branch and branch.prefix == other.branch.prefix:
            raise ConfigurationError(
                f"plugin {manifest.name} ({manifest.folder})",
                expected="ids of revisions that no other plugin has",
                found=f"{branch.base}, as in plugin {other.name} ({other.manifest.folder})",
                hint="rename the revisions of this plugin",
            )


def _installed(manifest: Manifest, branch: Branch | None) -> InstalledPlugin:
    for name, text in (("AUTHOR", manifest.author), ("DESCRIPTION", manifest.description)):
        if not is_utf8(text):
            raise ConfigurationError(
                f"plugin {manifest.name} ({manifest.folder})",
                expected=f"{name} without lone surrogates",
                found=repr(text)[:100],
                hint="correct it",
            )
    try:
        panel = parse_panel(manifest.panel)
    except ValueError as error:
        raise ConfigurationError(
            f"plugin {manifest.name} ({manifest.folder})",
            expected="PANEL as described in docs/plugins.md",
            found=str(error),
            hint="correct it",
        ) from error
    plugin = _import(manifest)
    return InstalledPlugin(manifest, plugin, with_bounds(panel, plugin.minimum, plugin.maximum), branch)


def _import(manifest: Manifest) -> Plugin:
    where = f"plugin {manifest.name} ({manifest.folder})"
    before = set(Base.metadata.tables)
    try:
        module = importlib.import_module(f"plugins.{manifest.folder.name}")
    # A package may raise any exception, and even call sys.exit().
    except (Exception, SystemExit) as error:
        raise _unusable(manifest, "a package that can be imported", error) from error
    for name in Base.metadata.tables.keys() - before:
        _refuse_key_to_view(where, Base.metadata.tables[name])
    plugin = getattr(module, "plugin", None) or adapt_legacy(module, manifest.name)
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
