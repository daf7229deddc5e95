"""``faust -A sparkle_app migrate``: migrates the tables of an earlier version."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError
from faust.cli.base import option
from sqlalchemy import Table

from sparkle_app.cli.base import OutputClosedError, UsageError
from sparkle_app.cli.database import DatabaseCommand, database_errors
from sparkle_app.cli.options import JSON
from sparkle_app.config.settings import database_url
from sparkle_app.config.url_parameters import shown
from sparkle_app.kafka.diagnosis import explain_failure
from sparkle_app.kafka.group_offsets import require_no_members
from sparkle_app.runtime.terminal import counted
from sparkle_app.storage.engine import can_be_created, read_transaction
from sparkle_app.storage.migrations.migration import migrate as migrate_tables
from sparkle_app.storage.migrations.migration import migration_sql, require_plugins
from sparkle_app.storage.migrations.schema import Revision, Schema, new_schema, read_schema

_EXCLUSIVE = "0005"
"""Workers of a version without this revision do not follow all watermarks, which whoever writes has to."""


class migrate(DatabaseCommand):
    """Migrate the tables of an earlier version to the schema of this one.

    Stop all workers first, and back up the database. While the consumer group has members, revisions up to 0005 are
    refused: workers of an earlier version would not follow the watermarks of retention. Applies all revisions, those of
    the handler and those of plugins, and creates missing tables. On SQLite and PostgreSQL this is one transaction: if a
    revision fails, nothing is changed. Other databases cannot roll back: the error says what to do. The exit code is
    0 if there is nothing to do.

    Example: faust -A sparkle_app migrate --dry-run
    """

    options = [  # noqa: RUF012 - as Faust declares it
        option("--dry-run", is_flag=True, help="only print what would be applied"),
        option(
            "--sql", "as_sql", is_flag=True, help="only print the SQL statements, for the database's client"
        ),
        JSON,
    ]

    async def run(self, **options: bool) -> int:
        """Print each revision when it is applied."""
        if not (options["dry_run"] or options["as_sql"]) and self._excludes_workers():
            await self._require_no_workers()
        return self.in_database(lambda: self._migrate(**options))

    def _migrate(self, *, dry_run: bool, as_sql: bool, as_json: bool) -> int:
        if as_sql and (dry_run or as_json):
            other = "--dry-run" if dry_run else "--json"
            raise UsageError("--sql", expected="no other output", found=other, hint="omit one of the options")
        plugins = self.handler.plugins
        if as_sql or dry_run:
            schema = self._schema()
            if as_sql:
                self._write(migration_sql(schema, plugins.errors))
                self.warn_of_plugins()
                return 0
            require_plugins(schema, plugins.errors)
        else:
            report = self._no_report if as_json else self._say_applying
            schema = migrate_tables(self.engine(), plugins.branches, plugins.errors, report, plugins.readings)
        self.warn_of_plugins()
        if as_json:
            self.say_json(_as_fields(schema, applied=not dry_run))
        elif dry_run:
            self._say_plan(schema)
        else:
            self._say_done(schema)
        return 0

    def _excludes_workers(self) -> bool:
        """Whether a revision is pending that workers of earlier versions do not know how to write beside."""
        with self.interruptible(), database_errors(database_url(self.handler.settings)):
            pending = self._schema().pending
        return any(each.branch.plugin is None and each.id <= _EXCLUSIVE for each in pending)

    async def _require_no_workers(self) -> None:
        settings = self.handler.settings
        try:
            await require_no_members(settings.broker, settings.app_id)
        except (KafkaError, OSError) as error:
            found = await explain_failure(settings.broker, error)
            self.error(f"warning: {settings.broker.url}: {found}; make sure that no worker runs")

    def _write(self, line: str, *args: Any, **kwargs: Any) -> None:
        # If the reader has closed standard output, the migration still completes.
        with suppress(OutputClosedError):
            super()._write(line, *args, **kwargs)

    def _schema(self) -> Schema:
        url, branches = database_url(self.handler.settings), self.handler.plugins.branches
        if can_be_created(url):
            return new_schema(url, branches)
        with read_transaction(self.engine()) as connection:
            return read_schema(connection, branches)

    def _no_report(self, revision: Revision) -> None:
        """The output is the result only."""

    def _say_applying(self, revision: Revision) -> None:
        self.say(f"applying {revision}")

    def _say_plan(self, schema: Schema) -> None:
        plan = [
            *(f"would apply {revision}" for revision in schema.pending),
            *(f"would create {name}" for name in _names(schema.missing)),
            *(f"would move the rows of {name}" for name in _names(schema.returned)),
        ]
        for line in plan:
            self.say(line)
        if not plan:
            self._say_done(schema)

    def _say_done(self, schema: Schema) -> None:
        done = [f"{counted(len(schema.pending), 'revision')} applied"] if schema.pending else []
        done += [f"created {', '.join(_names(schema.missing))}"] if schema.missing else []
        done += [f"moved the rows of {', '.join(_names(schema.returned))}"] if schema.returned else []
        at = ", ".join(state.branch.head for state in schema.states)
        self.say(f"{shown(schema.url)}: {'; '.join(done) or 'nothing to do'}; schema revision {at}")


def _names(tables: Iterable[Table]) -> list[str]:
    # Of SQLAlchemy's own type of strings.
    return sorted("".join(table.fullname) for table in tables)


def _as_fields(schema: Schema, *, applied: bool) -> dict[str, Any]:
    return {
        "applied": applied,
        "schema": [
            {"plugin": state.branch.plugin, "found": state.found, "expected": state.branch.head}
            for state in schema.states
        ],
        "revisions": [
            {"revision": each.id, "plugin": each.branch.plugin, "description": each.description}
            for each in schema.pending
        ],
        "created": _names(schema.missing),
        "moved": _names(schema.returned),
    }
