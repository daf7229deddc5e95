"""``faust -A sparkle_app move``: copies everything to another database, which then takes the place of this one."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path
from typing import Any

import click
from faust.cli.base import option
from pydantic import SecretStr
from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.audit.auditor import Auditor
from sparkle_app.audit.copies import audit_copy
from sparkle_app.cli.base import JSON, UsageError, counted
from sparkle_app.cli.database import DatabaseCommand, database_errors
from sparkle_app.config import urls
from sparkle_app.config.loading import absolute_url
from sparkle_app.config.settings import ENV_PREFIX, database_url
from sparkle_app.config.url_parameters import place, shown
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.storage.engine import can_be_created, make_engine, read_transaction
from sparkle_app.storage.migrations.migration import create_tables
from sparkle_app.storage.migrations.schema import read_schema
from sparkle_app.storage.rows import unknown_tables
from sparkle_app.storage.trial import try_writing
from sparkle_app.transfer.moving import Copy, Part

_NAMED = 5
"""How many hosts are named."""
_VARIABLE = f"{ENV_PREFIX}DATABASE__URL"


class Secret(click.ParamType):
    """A text that is not quoted in a message of click; checked where it is used."""

    name = "secret"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SecretStr:
        """Convert the value of an option; called by click."""
        return value if isinstance(value, SecretStr) else SecretStr(value)


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
        source_url, target_url = database_url(self.handler.settings), _target(target)
        if place(source_url) == place(target_url):
            raise UsageError(
                "--to", expected="another database", found=shown(target_url), hint="see database.url"
            )
        for error in self.handler.plugins.errors:
            raise error
        source = self.current_engine()
        if dry_run:
            self._try(target_url)
            # Nothing is stored, and not even the folder of a file is created.
            return self._copy_all(source, source, target_url, True, as_json)
        with _named_target():
            engine = make_engine(target_url, for_command=True)
        with _errors_of(engine):
            create_tables(engine, self.handler.plugins.branches)
            return self._copy_all(source, engine, target_url, False, as_json)

    def _copy_all(self, source: Engine, engine: Engine, target_url: URL, dry_run: bool, as_json: bool) -> int:
        with read_transaction(source) as connection:
            others = unknown_tables(connection)
        bucket_size = self.handler.settings.aggregates.bucket_seconds
        copy = Copy(self.handler.plugins.by_name, source, engine, bucket_size)
        if not dry_run:
            # What the source has deleted must not be stored again by those that will use the target.
            copy.copy_watermarks()
        report: dict[str, Any] = {"from": shown(source.url), "to": shown(target_url), "copied": not dry_run}
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
        with _named_target():
            if can_be_created(url):
                return
            engine = make_engine(url, for_command=True)
        with _errors_of(engine), read_transaction(engine) as connection:
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


def _target(given: SecretStr) -> URL:
    if given.get_secret_value() == "-":
        given = _from_standard_input()
    with _named_target():
        return absolute_url(Path.cwd(), make_url(urls.database_url(given).get_secret_value()))


def _from_standard_input() -> SecretStr:
    try:
        text = getpass("URL: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    except EOFError:
        text = ""
    except UnicodeDecodeError:
        # Not chained: it quotes the URL.
        raise UsageError(
            "standard input",
            expected="a URL in the encoding of the locale",
            found="other characters",
            hint="percent-encode them in the user name and the password",
        ) from None
    if not text:
        raise UsageError(
            "standard input",
            expected="the URL of the database to copy to",
            found="nothing",
            hint="enter it, or write it after --to",
        )
    return SecretStr(text)


@contextmanager
def _named_target() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        if error.where != "database.url":
            raise
        raise UsageError("--to", expected=error.expected, found=error.found, hint=error.hint) from error


@contextmanager
def _errors_of(target: Engine) -> Iterator[None]:
    """A context that turns errors of the target into ConfigurationError; those of the source pass."""
    failed: list[BaseException | None] = []

    @event.listens_for(target, "handle_error")
    def on_error(context: ExceptionContext) -> None:
        failed.append(context.sqlalchemy_exception)

    with _named_target():
        try:
            yield
        except SQLAlchemyError as error:
            if any(error is each for each in failed):
                with database_errors(target.url, "--to"):
                    raise
            raise
