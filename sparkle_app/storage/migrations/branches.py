"""Branches of revisions: one of the handler, and one of each plugin that ships a folder ``migrations``."""

import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic.script import Script, ScriptDirectory
from sqlalchemy import Table

# Declares the handler's own tables.
import sparkle_app.storage.hosts  # noqa: F401
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.models import AggregatesTable, Base, ReadingsTable

FOLDER = "migrations"
"""In a plugin's package."""
ROLES = (ReadingsTable, AggregatesTable)
_PLUGIN_ID = re.compile(r"([a-z][a-z0-9_]*)_[0-9]+")

# Its messages are for its own command line.
logging.getLogger("alembic").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Branch:
    """A line of revisions without forks."""

    plugin: str | None
    """NAME of the plugin; None: the handler's own branch."""
    package: str
    """The package of the models. The handler's branch also has the tables of all plugins by their role."""
    prefix: str
    """What precedes the number in the revisions' ids."""
    script: ScriptDirectory
    revisions: tuple[Script, ...]
    """From base to head."""

    @property
    def base(self) -> str:
        """The first revision: the tables before there were migrations."""
        return self.revisions[0].revision

    @property
    def head(self) -> str:
        """The revision that the models describe."""
        return self.revisions[-1].revision

    @property
    def label(self) -> str:
        """For messages: nothing, or the plugin."""
        return f" of plugin {self.plugin}" if self.plugin else ""

    def owns(self, revision: str) -> bool:
        """Whether the id is one of this branch, known or not."""
        return re.fullmatch(rf"{re.escape(self.prefix)}[0-9]+", revision) is not None

    def tables(self) -> list[Table]:
        """The tables of which one exists if the branch has ever been applied to a database."""
        own = [
            data_table(mapper.local_table)
            for mapper in Base.registry.mappers
            if f"{mapper.class_.__module__}.".startswith(f"{self.package}.")
            and isinstance(mapper.local_table, Table)
        ]
        return own if self.plugin else [*own, *tables_by_role(*ROLES)]


def tables_by_role(*roles: type[Base]) -> Iterator[Table]:
    """The tables with the rows of all models of these roles, whatever their names."""
    for mapper in Base.registry.mappers:
        if issubclass(mapper.class_, roles) and isinstance(mapper.local_table, Table):
            yield data_table(mapper.local_table)


@cache
def core_branch(folder: Path = Path(__file__).parent / "versions") -> Branch:
    """The handler's own revisions, whose ids are numbers."""
    script = ScriptDirectory(folder, version_locations=[folder])
    return Branch(None, "sparkle_app", "", script, _ordered(script))


def plugin_branch(name: str, folder: Path) -> Branch | None:
    """The revisions that a plugin ships; None if it has no folder ``migrations``.

    Arguments:
        name: NAME of the plugin.
        folder: of its package.

    Raises:
        ConfigurationError: if they are not one line of revisions, or cannot be loaded.
    """
    directory = folder / FOLDER
    if not directory.is_dir():
        return None
    where = f"plugin {name} ({directory})"
    script = ScriptDirectory(directory, version_locations=[directory])
    try:
        revisions = _ordered(script)
    # A revision is a module, which may raise any exception.
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            where,
            expected="revisions that can be loaded, each with one `down_revision`, and one with None",
            found=f"{type(error).__name__}: {' '.join(str(error).split())}",
            hint="correct them",
        ) from error
    ids = [each.revision for each in revisions]
    prefixes = {match[1] for match in map(_PLUGIN_ID.fullmatch, ids) if match}
    if len(prefixes) != 1 or not all(map(_PLUGIN_ID.fullmatch, ids)):
        raise ConfigurationError(
            where,
            expected=f"ids of revisions such as {folder.name.lower()}_0001, with the same name in all of them",
            found=", ".join(ids),
            hint="rename them",
        )
    return Branch(name, f"plugins.{folder.name}", f"{prefixes.pop()}_", script, revisions)


def _ordered(script: ScriptDirectory) -> tuple[Script, ...]:
    with warnings.catch_warnings():
        # Of an id that exists twice, or not at all.
        warnings.filterwarnings("error", message="Revision ")
        heads, bases = script.get_heads(), script.get_bases()
        if len(heads) != 1 or len(bases) != 1:
            raise ValueError(f"{len(heads)} revisions that none follows, {len(bases)} that follow none")
        revisions = tuple(reversed(list(script.walk_revisions())))
    for each in revisions:
        if each.is_merge_point or each.dependencies:
            raise ValueError(f"{each.revision} depends on several revisions")
    return revisions
