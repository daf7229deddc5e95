"""Finding and importing the installed plugins: one that is broken is reported by name, the others go on."""

import importlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from sparkle_app.kafka.topology import TopicSpec, topic_specs
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.legacy import adapt_legacy
from sparkle_app.plugin.manifest import Manifest, find_packages
from sparkle_app.plugin_api import Plugin

# Packages import their server half, not their collecting half, where this is set.
SERVER_FLAG = "SPARKLE_M_SERVER"


@dataclass(frozen=True)
class InstalledPlugin:
    """A plugin that can be used: what it is, and its server half."""

    manifest: Manifest
    plugin: Plugin

    @property
    def name(self) -> str:
        """NAME, which payloads carry."""
        return self.manifest.name


@dataclass
class InstalledPlugins:
    """All that was found in the plugins folder."""

    installed: dict[str, InstalledPlugin] = field(default_factory=dict)
    """By NAME."""
    faults: list[ConfigurationError] = field(default_factory=list)
    """One for each package that cannot be used."""
    warnings: list[str] = field(default_factory=list)
    """Such as a package that a higher version replaces."""

    @property
    def by_name(self) -> dict[str, Plugin]:
        """The server halves by NAME."""
        return {name: plugin.plugin for name, plugin in self.installed.items()}

    def topic_specs(self, app_id: str, resolution: int) -> list[TopicSpec]:
        """All topics that a worker needs; ``resolution`` is the length of a bucket, seconds."""
        return topic_specs(app_id, self.topics, self.installed, resolution)

    @property
    def topics(self) -> list[str]:
        """The topics that collectors send to, each once."""
        return sorted({plugin.manifest.topic for plugin in self.installed.values()})


def load_plugins(folder: Path) -> InstalledPlugins:
    """Import every package of the plugins folder.

    Arguments:
        folder: holds one folder for each package.
    """
    os.environ[SERVER_FLAG] = "1"
    # Packages are known as plugins.<package>, here as on the hosts, wherever their folder is.
    parent = sys.modules.setdefault("plugins", ModuleType("plugins"))
    parent.__path__ = [str(folder)]
    found = find_packages(folder)
    plugins = InstalledPlugins(faults=list(found.faults), warnings=list(found.warnings))
    for manifest in found.manifests:
        try:
            plugins.installed[manifest.name] = InstalledPlugin(manifest, _import(manifest))
            for old, new in plugins.installed[manifest.name].plugin.deprecated.items():
                where = f"plugin {manifest.name} ({manifest.folder})"
                plugins.warnings.append(f"{where}: the method `{old}` is deprecated, rename it to `{new}`")
        except ConfigurationError as fault:
            plugins.faults.append(fault)
    return plugins


def no_plugins(folder: Path) -> ConfigurationError:
    """What a worker says that found no plugin."""
    return ConfigurationError(
        str(folder), expected="a plugin", found="none that can be used", hint="see docs/plugins.md"
    )


def _import(manifest: Manifest) -> Plugin:
    where = f"plugin {manifest.name} ({manifest.folder})"
    try:
        module = importlib.import_module(f"plugins.{manifest.folder.name}")
    # A package may fail in any way, and even try to leave.
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            where,
            expected="a package that can be imported",
            found=f"{type(error).__name__}: {' '.join(str(error).split())}",
            hint="mend or remove it",
        ) from error
    plugin = getattr(module, "plugin", None) or adapt_legacy(module, manifest.name)
    if not isinstance(plugin, Plugin):
        raise ConfigurationError(
            where,
            expected="the name `plugin` in __init__.py, an instance of sparkle_app.plugin_api.Plugin",
            found=type(plugin).__name__ if plugin is not None else "none",
            hint="see docs/plugins.md",
        )
    return plugin
