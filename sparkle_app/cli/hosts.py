"""``faust -A sparkle_app hosts``: lists hosts and those that have fallen silent, removes, renames and merges them."""

import time
from collections.abc import Sequence

import msgspec
from faust.cli.base import argument, option
from sqlalchemy import Engine

from sparkle_app.cli.base import UsageError
from sparkle_app.cli.database import DatabaseCommand
from sparkle_app.cli.host_renames import MERGE, OPTIONS, RENAME, rename_host
from sparkle_app.cli.options import CONFIG_ID, JSON, TEXT
from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.time import from_seconds, rfc3339, span, whole_seconds
from sparkle_app.runtime.terminal import counted, printable
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.host_queries import select_hosts
from sparkle_app.storage.hosts import remove_host
from sparkle_app.web.api.hosts import activity_info

_HEADER = ("host", "plugin", "config", "last received", "age", "every", "state")


class hosts(DatabaseCommand):
    """List the hosts that have sent readings, one line for each plugin of a host; or rename a host, or merge two.

    A host is silent if no reading of it has been stored for more than three of its usual intervals. Workers write the
    table once a minute.

    `rename OLD NEW` gives all stored readings and aggregates of a host to a new name. `merge OLD NEW` adds them to
    those of a host that is known. Both are exact: `verify` finds no difference. Stop all workers first; the command
    checks this, and so needs the broker. Records that the workers have not read yet, and those that a collector still
    sends as OLD, are stored as OLD. A record that is stored already stays with NEW when it is read again, or replayed.
    Tables that a plugin declares itself, files of `export`, and copies of `move` keep OLD.

    Example: faust -A sparkle_app hosts --silent

    Remove hosts that no longer exist: faust -A sparkle_app hosts --remove web-1 --remove web-2

    A host was renamed: faust -A sparkle_app hosts merge web-1 www-1 --dry-run
    """

    options = [  # noqa: RUF012 - as Faust declares it
        argument("action", nargs=-1, type=TEXT, metavar="[rename OLD NEW | merge OLD NEW]"),
        option("--plugin", type=TEXT, help="only this plugin"),
        option("--config", "config_id", type=CONFIG_ID, help="only hosts that use this config"),
        option("--silent", is_flag=True, help="only silent hosts; the exit code is 1 if there is any"),
        option(
            "--remove",
            type=TEXT,
            multiple=True,
            metavar="HOST",
            help="remove a host, or with --plugin a plugin of it, until it sends readings again; its readings stay",
        ),
        *OPTIONS,
        JSON,
    ]

    async def run(
        self,
        action: Sequence[str],
        *,
        plugin: str | None,
        config_id: int | None,
        silent: bool,
        remove: Sequence[str],
        dry_run: bool,
        yes: bool,
        as_json: bool,
    ) -> int:
        """Print the hosts, or remove or rename some."""
        listing = bool(plugin is not None or config_id is not None or silent or remove)
        if (dry_run or yes) and not action:
            raise UsageError(
                "--yes" if yes else "--dry-run",
                expected=f"{RENAME} OLD NEW or {MERGE} OLD NEW with this option",
                found="neither",
                hint="see hosts --help",
            )
        if action:
            if listing or len(action) != 3 or action[0] not in (RENAME, MERGE):
                raise UsageError(
                    "hosts",
                    expected=f"{RENAME} OLD NEW or {MERGE} OLD NEW, with --dry-run, --yes and --json only",
                    found=" ".join(map(printable, action)),
                    hint="see hosts --help",
                )
            return await rename_host(self, *action, dry_run=dry_run, yes=yes, as_json=as_json)
        now = from_seconds(time.time())
        if remove:
            if silent or config_id is not None:
                raise UsageError(
                    "hosts --remove",
                    expected="no other option than --plugin",
                    found="--silent or --config",
                    hint="name the hosts",
                )
            return self.in_database(lambda: self._remove(self.current_engine(), remove, plugin, now, as_json))
        return self.in_database(
            lambda: self._list(self.current_engine(), plugin, config_id, silent, now, as_json)
        )

    def _list(
        self, engine: Engine, plugin: str | None, config_id: int | None, silent: bool, now: int, as_json: bool
    ) -> int:
        with read_transaction(engine) as connection:
            known = list(select_hosts(connection, plugin, config_id))
        installed = self.handler.plugins.installed
        if plugin is not None and not known and plugin not in installed:
            raise UsageError(
                "--plugin",
                expected=f"one of {', '.join(installed)}",
                found=printable(plugin),
                hint="run hosts without options",
            )
        silent_ones = [each for each in known if each.is_silent(now)]
        shown = silent_ones if silent else known
        if as_json:
            self.say_json(
                [{"host": each.hostname, **msgspec.to_builtins(activity_info(each, now))} for each in shown]
            )
        else:
            for line in _table([_HEADER, *(_row(each, now) for each in shown)]):
                self.say(line)
            names = [len({each.hostname for each in some}) for some in (known, silent_ones)]
            self.say(f"{counted(names[0], 'host')}, {names[1]} silent")
            if known and len(silent_ones) == len(known):
                self.say(
                    "All hosts are silent: check that a worker is ready and has no lag, and that the clock of this"
                    " machine is correct."
                )
        return 1 if silent and shown else 0

    def _remove(
        self, engine: Engine, names: Sequence[str], plugin: str | None, now: int, as_json: bool
    ) -> int:
        names = list(dict.fromkeys(names))
        with engine.begin() as connection:
            missing = [name for name in names if not remove_host(connection, name, plugin, now)]
            if missing:
                raise UsageError(
                    "--remove",
                    expected="a host of the list",
                    found=printable(missing[0]),
                    hint="nothing was removed; run hosts without options",
                )
        if as_json:
            self.say_json({"removed": names})
        else:
            for name in names:
                self.say(f"{printable(name)} removed; it is listed again as soon as it sends readings")
        return 0


def _row(activity: HostActivity, now: int) -> Sequence[str]:
    return (
        printable(activity.hostname),
        activity.plugin,
        str(activity.config_id),
        rfc3339(span(whole_seconds(activity.last_received_at))),
        _duration(max(now - activity.last_received_at, 0)),
        "-" if activity.interval is None else _duration(activity.interval),
        "silent" if activity.is_silent(now) else "ok",
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _duration(microseconds: int) -> str:
    """Such as ``42s``, ``5m``, ``3h`` or ``12d``."""
    seconds = whole_seconds(microseconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
