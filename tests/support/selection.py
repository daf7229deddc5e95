"""Which tests run with which broker, a rule for ``--broker``, and which need a server or a browser of their own."""

import os
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

KAFKA, TANSU = "kafka", "tansu"
ONLY_KAFKA = "kafka"
"""Marks tests of what the embedded broker cannot do."""
ANY_BROKER = "any_broker"
"""Marks tests for which records only have to arrive, such as those of database faults, migrations or HTTP."""
DATABASES, BROWSER = "databases", "browser"
"""What `make test-databases` and `make test-browser` run, and `make test` does not. Tests need no line for it."""
_OTHERS = {"mariadb", "mysql", "pgbouncer", "psycopg", "portable", "SQLAlchemy's"}
"""Fixtures and values of parameters: servers, drivers and statements. SQLite and PostgreSQL belong to `make test`."""
_FIXTURE = "make_broker"
"""All other fixtures of brokers use it."""
_ON_KAFKA = "postgresql"
LONGEST = (
    "shutdown", "restarts", "earlier_packages", "browser_growth", "chaos", "replaced_logs", "browser_host",
    "browser_provenance", "lost_connections", "foreign_topics", "diagnosis", "browser_pipeline", "browser_use",
    "browser_faults", "browser_values", "pipeline", "refused_writes", "browser_pictures", "browser_charts",
    "three_brokers", "backup", "dead_letters", "demo", "browser_overview", "startup", "host_renames",
    "mariadb_worker", "retention", "clock_steps", "dead_letter_commands", "compose_security",
    "database_contract_expiry", "database_contract", "full_disk", "access", "schema_creation", "rebuild",
    "browser_pictures_plugins", "export", "web_api", "verified_resolutions", "browser_plugins", "browser_compare",
    "browser_small_charts", "schema_migrations", "waiting", "database_contract_retention", "forgotten_connections",
    "pgbouncer", "failover", "transfer", "custom_plugin", "hosts", "database_contract_errors", "move", "web",
    "move_rows", "move_command", "wal", "browser_login", "other_database", "metric_limit", "large_values",
)  # fmt: skip
"""The files of integration tests that take longest with one of the brokers, in about this order."""


def brokers(
    fixtures: Collection[str], markers: Collection[str], database: str | None, databases: Collection[str]
) -> set[str]:
    """The brokers with which a test runs; if none is part of it, it runs where the embedded one does.

    A test with a broker runs with both, unless it is marked. One that takes several databases runs with Kafka and
    PostgreSQL, and with the embedded broker and every database.

    Arguments:
        fixtures: names of the fixtures that the test uses.
        markers: names of its markers.
        database: its parameter ``database_url``, if it has one.
        databases: the parameters with which the same function runs.
    """
    if ONLY_KAFKA in markers:
        assert ANY_BROKER not in markers, (
            f"expected one of the markers {ONLY_KAFKA} and {ANY_BROKER}, found both"
        )
        return {KAFKA}
    if _FIXTURE not in fixtures or ANY_BROKER in markers:
        return {TANSU}
    if _ON_KAFKA in databases and database != _ON_KAFKA:
        return {TANSU}
    return {KAFKA, TANSU}


def select(items: Iterable[pytest.Item], broker: str) -> list[pytest.Item]:
    """The tests that run with this broker."""
    items = list(items)
    databases: dict[str, set[str]] = {}
    for item in items:
        databases.setdefault(_function(item), set()).add(_database(item) or "")
    return [
        item
        for item in items
        if broker
        in brokers(
            getattr(item, "fixturenames", ()),
            {marker.name for marker in item.iter_markers()},
            _database(item),
            databases[_function(item)],
        )
    ]


def suite(fixtures: Collection[str], parameters: Iterable[object]) -> str | None:
    """The marker of a test that `make test` leaves out: DATABASES, BROWSER or None.

    Arguments:
        fixtures: names of the fixtures that the test uses.
        parameters: values of its parameters. That of a fixture can name a server, such as "mariadb-worker".
    """
    if BROWSER in fixtures:
        return BROWSER
    words = {word for each in parameters if isinstance(each, str) for word in (each, *each.split("-"))}
    return DATABASES if _OTHERS & {*fixtures, *words} else None


def mark(items: Iterable[pytest.Item]) -> None:
    """Give each integration test the marker of its suite; unit tests start no server, whatever they name."""
    for item in items:
        if item.path.parent.name != "integration":
            continue
        name = suite(getattr(item, "fixturenames", ()), _parameters(item).values())
        if name:
            item.add_marker(name)


def place(file: Path) -> int:
    """Where a file comes: unit tests, the files of LONGEST, then all others.

    A long file that began late would run alone at the end.
    """
    places = [f"integration/test_{name}.py" for name in LONGEST]
    name = "/".join(file.parts[-2:])
    if name in places:
        return places.index(name)
    return len(places) if name.startswith("integration/") else -1


class Groups(LoadFileScheduling):  # type: ignore[misc]
    """Integration tests run file by file, as with ``--dist loadfile``, beside a few large groups of unit tests.

    Integration tests mostly wait, unit tests need the processors: at most a third of the processes run these.
    """

    def _reschedule(self, node: Any) -> None:
        # A process begins a test when it has the next one. With more, a file could wait behind a long test.
        if self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)

    @cached_property
    def _is_mixed(self) -> bool:
        return any("integration/" in nodeid for nodeid in self.collection)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if "integration/" in file or not self._is_mixed:
            return file
        groups = max(1, min(os.cpu_count() or 1, self.numnodes // 3))
        return f"unit tests {crc32(file.encode()) % groups}"


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _database(item: pytest.Item) -> str | None:
    found = _parameters(item).get("database_url")
    return found if isinstance(found, str) else None


def _parameters(item: pytest.Item) -> Mapping[str, object]:
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
