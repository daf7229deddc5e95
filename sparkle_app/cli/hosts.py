"""``faust -A sparkle_app hosts``: lists the hosts that send readings, and those that have fallen silent."""

import time
from collections.abc import Sequence
from typing import Any

from faust.cli.base import option
from sqlalchemy import Engine

from sparkle_app.cli.base import JSON, UsageError, counted
from sparkle_app.cli.database import DatabaseCommand
from sparkle_app.config.settings import database_url
from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.time import from_seconds, rfc3339
from sparkle_app.runtime.terminal import printable
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.hosts import remove_host, select_hosts

_HEADER = ("host", "plugin", "config", "last received", "age", "every", "state")


class hosts(DatabaseCommand):
    """List the hosts that have sent readings: one line for each plugin of a host.

    A host is silent if nothing was received from it for more than three of its usual intervals. The table is written
    once a minute.

    Example: faust -A sparkle_app hosts --silent

    Remove a host that no longer exists: faust -A sparkle_app hosts --remove web-1
    """

    options = [  # noqa: RUF012 - as Faust declares it
        option("--plugin", help="only hosts that send readings of this plugin"),
        option("--config", "config_id", type=int, help="only hosts that use this config"),
        option("--silent", is_flag=True, help="only silent hosts; the exit code is 1 if there is any"),
        option(
            "--remove",
            metavar="HOST",
            help="remove a host from the list until it sends readings again; its readings stay",
        ),
        JSON,
    ]

    async def run(
        self, *, plugin: str | None, config_id: int | None, silent: bool, remove: str | None, as_json: bool
    ) -> int:
        """Print the hosts, or remove one."""
        engine = make_engine(database_url(self.handler.settings), for_command=True)
        now = from_seconds(time.time())
        if remove is not None:
            if silent or plugin is not None or config_id is not None:
                raise UsageError(
                    "hosts --remove",
                    expected="no other option",
                    found="a filter",
                    hint="remove one host at a time",
                )
            return self.in_database(lambda: self._remove(engine, remove, now, as_json))
        return self.in_database(lambda: self._list(engine, plugin, config_id, silent, now, as_json))

    def _list(
        self, engine: Engine, plugin: str | None, config_id: int | None, silent: bool, now: int, as_json: bool
    ) -> int:
        with read_transaction(engine) as connection:
            found = [
                each
                for each in select_hosts(connection, plugin, config_id)
                if not silent or each.is_silent(now)
            ]
        if as_json:
            self.say_json([_fields(each, now) for each in found])
        else:
            for line in _table([_HEADER, *(_row(each, now) for each in found)]):
                self.say(line)
            names = {each.hostname for each in found}
            silent_names = {each.hostname for each in found if each.is_silent(now)}
            self.say(f"{counted(len(names), 'host')}, {len(silent_names)} silent")
        return 1 if silent and found else 0

    def _remove(self, engine: Engine, name: str, now: int, as_json: bool) -> int:
        with engine.begin() as connection:
            removed = remove_host(connection, name, now)
        if not removed:
            raise UsageError(
                "--remove",
                expected="a host of the list",
                found=printable(name),
                hint="run hosts without options",
            )
        if as_json:
            self.say_json({"removed": name})
        else:
            self.say(f"{printable(name)} removed; it is listed again as soon as it sends readings")
        return 0


def _fields(activity: HostActivity, now: int) -> dict[str, Any]:
    return {
        "host": activity.hostname,
        "plugin": activity.plugin,
        "config_id": activity.config_id,
        "first_received_at": rfc3339(activity.first_received_at),
        "last_received_at": rfc3339(activity.last_received_at),
        "first_observed_at": rfc3339(activity.first_observed_at),
        "last_observed_at": rfc3339(activity.last_observed_at),
        "interval_seconds": None if activity.interval is None else activity.interval // 1_000_000,
        "silent": activity.is_silent(now),
    }


def _row(activity: HostActivity, now: int) -> Sequence[str]:
    return (
        printable(activity.hostname),
        activity.plugin,
        str(activity.config_id),
        rfc3339(activity.last_received_at - activity.last_received_at % 1_000_000),
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
    seconds = microseconds // 1_000_000
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size or (unit == "m" and seconds >= size):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
