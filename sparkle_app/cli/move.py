"""``faust -A sparkle_app move``: copies everything to another database, which then takes the place of this one."""

import os
from collections.abc import Mapping
from typing import Any

from faust.cli.base import option
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from sparkle_app.audit.auditor import Auditor
from sparkle_app.audit.copies import audit_copy
from sparkle_app.cli.base import UsageError
from sparkle_app.cli.database import DatabaseCommand
from sparkle_app.cli.move_target import Secret, named_target, target_errors, target_url
from sparkle_app.cli.options import JSON
from sparkle_app.config.settings import ENV_PREFIX, database_url
from sparkle_app.config.url_parameters import place, shown
from sparkle_app.runtime.terminal import counted
from sparkle_app.storage.engine import can_be_created, make_engine, read_transaction
from sparkle_app.storage.migrations.migration import create_tables
from sparkle_app.storage.migrations.schema import read_schema
from sparkle_app.storage.rows import unknown_tables
from sparkle_app.storage.trial import try_writing
from sparkle_app.transfer.moving import Copy, Part

_NAMED = 5
"""How many hosts are named."""
_VARIABLE = f"{ENV_PREFIX}DATABASE__URL"


class move(DatabaseCommand):
    """Copy everything to another database: readings and aggregates of all plugins, tables of packages, hosts,
    and the start of the retention period.

    Readings that are there already remain, so the command can be interrupted and run again. Aggregates become those of
    this database. If the new database has more readings of a host, its aggregates that count more readings are kept.
    Workers may keep running for the first run. Then stop them, and run it again: it takes what they have stored since,
    verifies both databases, and says which setting to change. The exit code is 0 if the new database has everything.
    This one is not changed.

    Example: faust -A sparkle_app move --to postgresql://sparkle@db.example.org/sparkle
    """

    options = [  # noqa: RUF012 - as Faust declares it
        option(
            "--to",
            "target",
            type=Secret(),
            required=True,
            metavar="URL",
            help="database to copy to, as in database.url; - reads the URL from standard input, so that no process"
            " list and no history shows its password",
        ),
        option("--dry-run", is_flag=True, help="only check both databases, and print what would be copied"),
        JSON,
    ]

    async def run(self, **options: Any) -> int:
        """Print a line for each part, and what to do next."""
        return self.in_database(lambda: self._move(**options))

    def _move(self, *, target: SecretStr, dry_run: bool, as_json: bool) -> int:
        source_url, url = database_url(self.handler.settings), target_url(target)
        if place(source_url) == place(url):
            raise UsageError("--to", expected="another database", found=shown(url), hint="see database.url")
        for error in self.handler.plugins.errors:
            raise error
        source = self.current_engine()
        if dry_run:
            self._try(url)
            # Nothing is stored, and not even the folder of a file is created.
            return self._copy_all(source, source, url, True, as_json)
        with named_target():
            engine = make_engine(url, for_command=True)
        with target_errors(engine):
            create_tables(engine, self.handler.plugins.branches)
            return self._copy_all(source, engine, url, False, as_json)

    def _copy_all(self, source: Engine, engine: Engine, url: URL, dry_run: bool, as_json: bool) -> int:
        with read_transaction(source) as connection:
            others = unknown_tables(connection)
        bucket_size = self.handler.settings.aggregates.bucket_seconds
        copy = Copy(self.handler.plugins.by_name, source, engine, bucket_size)
        if not dry_run:
            # What the source has deleted must not be stored again by those that will use the target.
            copy.copy_watermarks()
        report: dict[str, Any] = {"from": shown(source.url), "to": shown(url), "copied": not dry_run}
        report["parts"] = [self._copy(part, dry_run, as_json) for part in copy.parts()]
        report["not_copied"] = [*others, *copy.own_columns]
        if others and not as_json:
            self.say(f"not copied: {', '.join(others)}, of which no installed plugin declares the columns")
        if copy.own_columns and not as_json:
            self.say(f"not copied: {', '.join(copy.own_columns)}, which the plugin itself fills")
        if dry_run:
            if as_json:
                self.say_json(report)
            return 0
        done = self._verify(copy, source, engine, report, as_json)
        return 1 if copy.own_columns else done

    def _try(self, url: URL) -> None:
        with named_target():
            if can_be_created(url):
                return
            engine = make_engine(url, for_command=True)
        with target_errors(engine), read_transaction(engine) as connection:
            read_schema(connection, self.handler.plugins.branches).require_current()
            try_writing(connection)

    def _copy(self, part: Part, dry_run: bool, as_json: bool) -> dict[str, Any]:
        fields: dict[str, Any] = {"name": part.name, "what": part.what}
        if dry_run:
            fields["rows"] = part.rows
            line = f"{counted(part.rows, part.what[:-1])} to copy"
        else:
            read = new = 0
            with self.progress(part.rows, f"{part.name}, {part.what}") as progress:
                for page in part.pages:
                    new += part.store(page)
                    read += len(page)
                    progress.update(len(page))
            expired = part.expired()
            known = read - new - expired
            fields |= {"read": read, "new": new, "known": known, "expired": expired}
            line = f"{counted(read, part.what[:-1])} read, {new} new or changed, {known} known"
            line += f", {expired} expired" if expired else ""
        if not as_json:
            self.say(f"{part.name}: {line}")
        return fields

    def _verify(
        self, copy: Copy, source: Engine, target: Engine, report: dict[str, Any], as_json: bool
    ) -> int:
        # What has expired meanwhile is not compared.
        copy.copy_watermarks()
        ahead = {name: copy.ahead(name) for name in copy.verifiable}
        missing = list(copy.missing())
        report["missing"] = [{"name": name, "what": what, "rows": number} for name, what, number in missing]
        report["verified"] = []
        same = True
        for name in copy.verifiable:
            installed = self.handler.plugins.installed[name]
            bucket_size = self.handler.settings.aggregates.bucket_seconds
            marks = copy.watermarks(name)
            auditors = [
                Auditor(name, installed.plugin, each, bucket_size, marks) for each in (source, target)
            ]
            total = sum(
                each["read"] for each in report["parts"] if (each["name"], each["what"]) == (name, "readings")
            )
            with self.progress(total, f"{name}, verify") as progress:
                here, there, equal, to_rebuild = audit_copy(
                    auditors[0], auditors[1], ahead[name], progress.update
                )
            same &= equal
            verified = {"plugin": name, "from": here, "to": there, "same": equal}
            report["verified"].append({**verified, "ahead": sorted(ahead[name]), "to_rebuild": to_rebuild})
            if not as_json:
                for each, url in ((here, source.url), (there, target.url)):
                    self.say(
                        f"{name}: {counted(each.readings, 'reading')}, {counted(each.aggregates, 'aggregate')},"
                        f" {counted(each.differences, 'difference')} in {shown(url)}"
                    )
                if here.not_verifiable:
                    self.say(
                        f"{name}: {counted(here.not_verifiable, 'aggregate')} can no longer be verified,"
                        f" {'equal in' if equal else 'compared between'} both databases"
                    )
        to_rebuild = any(each["to_rebuild"] for each in report["verified"])
        report["complete"] = complete = same and not missing and not to_rebuild
        if as_json:
            self.say_json(report)
        else:
            self._say_next(target.url, missing, same, report["verified"])
        return 0 if complete else 1

    def _say_next(
        self, url: URL, missing: list[tuple[str, str, int]], same: bool, verified: list[Mapping[str, Any]]
    ) -> None:
        if missing:
            rows = ", ".join(f"{counted(number, what[:-1])} of {name}" for name, what, number in missing)
            self.say(
                f"not complete: {rows} were stored in the meantime; stop the workers and run the command again"
            )
            return
        if not same:
            self.say(
                "not complete: aggregates differ between the databases; stop the workers and run the command again"
            )
            return
        for each in verified:
            if hosts := each["ahead"]:
                more = f" and {counted(len(hosts) - _NAMED, 'other')}" if len(hosts) > _NAMED else ""
                self.say(
                    f"{each['plugin']}: {shown(url)} has more readings of {', '.join(hosts[:_NAMED])}{more}, whose"
                    " aggregates are compared only with these"
                )
        if number := sum(each["to_rebuild"] for each in verified):
            self.say(
                f"not complete: {counted(number, 'difference')} between aggregates and readings of these hosts there;"
                " run `rebuild` with that database.url, and then this command again"
            )
            return
        if any(each["to"].differences for each in verified):
            self.say(
                "the differences are the same in both databases; verify shows them, and rebuild repairs them"
            )
        settings = self.handler.settings
        where = _VARIABLE if _VARIABLE in os.environ else f"database.url in {settings.source}"
        self.say(
            f"complete, if no worker has run since this command was started: set {where} to {shown(url)},"
            " then start the workers"
        )
