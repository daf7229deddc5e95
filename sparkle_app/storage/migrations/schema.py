"""What a database's schema is, compared with what this version expects."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from alembic.script import Script
from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select
from sqlalchemy.engine import URL

from sparkle_app.config.url_parameters import shown
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.migrations.branches import Branch
from sparkle_app.storage.migrations.compaction import COMPACT, wide_tables
from sparkle_app.storage.models import SERIES, SOURCES, Base
from sparkle_app.storage.views import VIEW

VERSIONS = Table("sparkle_schema", MetaData(), Column("version_num", String(255), primary_key=True))
"""The revision of each branch. Not a table of the models, which a revision could change; the column is Alembic's."""


_MIGRATE = "run `faust -A sparkle_app migrate`, or set database.migrate to true"


class OlderSchemaError(ConfigurationError):
    """The database has to be migrated."""


@dataclass(frozen=True)
class Revision:
    """A revision that is to be applied."""

    branch: Branch
    script: Script

    def __str__(self) -> str:
        return f"{self.id}{self.branch.label}: {self.description}"

    @property
    def id(self) -> str:
        """As it is recorded."""
        return self.script.revision

    @property
    def description(self) -> str:
        """The first paragraph of its docstring, as one line."""
        return " ".join(self.script.doc.split())


@dataclass(frozen=True)
class BranchState:
    """A branch, and what the database has of it."""

    branch: Branch
    found: str | None
    """Its revision; None: none of its tables exists."""
    recorded: bool
    """False: derived from the tables, which a version without migrations created."""

    @property
    def pending(self) -> Sequence[Script]:
        """The revisions to apply. Tables that do not exist are created from the models instead."""
        ids = [each.revision for each in self.branch.revisions]
        return self.branch.revisions[ids.index(self.found) + 1 :] if self.found else ()

    @property
    def target(self) -> str:
        """The revision to record before anything is applied."""
        return self.found or self.branch.head


@dataclass(frozen=True)
class Schema:
    """The state of a database."""

    url: URL
    has_versions: bool
    """Whether the table of revisions exists."""
    existing: frozenset[Table]
    wide: Mapping[Table, Collection[str]]
    """As of :func:`wide_tables`."""
    unshown: frozenset[Table]
    """The existing tables whose view does not exist."""
    states: Sequence[BranchState]
    """In the order in which they are migrated: the handler's branch first."""

    @property
    def missing(self) -> list[Table]:
        """The tables that do not exist."""
        return [table for table in Base.metadata.sorted_tables if table not in self.existing]

    @property
    def unrecorded(self) -> list[BranchState]:
        """The branches without a recorded revision."""
        return [state for state in self.states if not state.recorded]

    @property
    def pending(self) -> list[Revision]:
        """The revisions to apply, in order."""
        return [Revision(state.branch, script) for state in self.states for script in state.pending]

    @property
    def returned(self) -> Collection[Table]:
        """The wide tables of plugins that were not installed when the others were compacted."""
        is_first = any(each.branch.plugin is None and each.id == COMPACT for each in self.pending)
        return () if is_first else self.wide

    @property
    def is_current(self) -> bool:
        """Whether there is nothing to apply, to create or to record."""
        return not (self.pending or self.missing or self.unrecorded or self.wide or self.unshown)

    def require_current(self) -> None:
        """Check that there is nothing to apply.

        Raises:
            OlderSchemaError: if there is.
            ConfigurationError: if names are lost that rows refer to.
        """
        if any(VIEW in table.info for table in self.existing):
            for names in (SERIES, SOURCES):
                if names not in self.existing:
                    raise ConfigurationError(
                        "database.url",
                        expected=f"{shown(self.url)} with the table {names.name}, to which stored rows refer",
                        found="no such table",
                        hint="restore it from a backup",
                    )
        older = [state for state in self.states if state.pending]
        if self.wide and not older:
            old = ", ".join(sorted(table.name for table in self.wide))
            raise OlderSchemaError(
                "database.url",
                expected=f"{shown(self.url)} at schema revision {self.states[0].branch.head}",
                found=f"tables of an earlier one, which were not migrated: {old}",
                hint=_MIGRATE,
            )
        if older:
            raise OlderSchemaError(
                "database.url",
                expected=f"{shown(self.url)} at schema revision "
                + " and ".join(f"{state.branch.head}{state.branch.label}" for state in older),
                found=" and ".join(str(state.found) for state in older),
                hint=_MIGRATE,
            )


def new_schema(url: URL, branches: Sequence[Branch]) -> Schema:
    """The state of a database that does not exist yet."""
    return Schema(
        url, False, frozenset(), {}, frozenset(), [BranchState(each, None, False) for each in branches]
    )


def read_schema(connection: Connection, branches: Sequence[Branch]) -> Schema:
    """The state of a database.

    Raises:
        ConfigurationError: if it has a revision that this version does not know.
        SQLAlchemyError: when the database cannot be reached, or rejects a statement.
    """
    known = inspect(connection)
    has_versions = known.has_table(VERSIONS.name)
    recorded = set(connection.execute(select(VERSIONS.c.version_num)).scalars()) if has_versions else set()
    existing = frozenset(
        table for table in Base.metadata.sorted_tables if known.has_table(table.name, schema=table.schema)
    )
    url = connection.engine.url
    wide = wide_tables(known)
    states = [_state(url, each, recorded, existing, wide) for each in branches]
    unshown = frozenset(
        table
        for table in existing
        if (view := table.info.get(VIEW)) is not None
        and view not in wide
        and view.name not in known.get_view_names(view.schema)
    )
    return Schema(url, has_versions, existing, wide, unshown, states)


def _state(
    url: URL, branch: Branch, recorded: set[str], existing: frozenset[Table], wide: Mapping[Table, object]
) -> BranchState:
    # Revisions of a plugin that is not installed belong to no branch.
    own = sorted(filter(branch.owns, recorded))
    if not own:
        if not existing.union(map(data_table, wide)).intersection(branch.tables()):
            return BranchState(branch, None, False)
        # Versions without migrations have created tables only where the models now have views.
        is_new = branch.plugin is None and not wide and any(VIEW in table.info for table in existing)
        return BranchState(branch, branch.head if is_new else branch.base, False)
    if len(own) > 1 or own[0] not in [each.revision for each in branch.revisions]:
        raise ConfigurationError(
            "database.url",
            expected=f"{shown(url)} at schema revision {branch.head}{branch.label}, or an earlier one",
            found=" and ".join(own),
            hint=f"install the version of {f'plugin {branch.plugin}' if branch.plugin else 'the handler'}"
            " that migrated the database",
        )
    return BranchState(branch, own[0], True)
