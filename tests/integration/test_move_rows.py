"""Which rows the command `move` copies, and what becomes of those of the other database."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from sparkle_app.model.retention import Watermark
from sparkle_app.model.time import span
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.retention import advance, begin, watermarks
from tests.support.database import count, query
from tests.support.moving import NOON, NOWHERE, assert_same, fill, move, plain
from tests.support.worker import PROJECT, Workspace, run_command


def test_what_only_the_other_database_has_remains(workspace: Workspace, source: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'target.sqlite3'}"
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    fill(target, workspace, [("Temperature", host, "k", n, NOON + 5 * n) for host in "ab" for n in range(70)])
    newer = "UPDATE sparkle_hosts SET last_received_at = '2100-01-01 00:00:00.000000' WHERE name = 'a'"
    with closing(sqlite3.connect(tmp_path / "target.sqlite3")) as connection:
        connection.execute(newer)
        connection.commit()
    # The buckets of host a have other readings there: fewer than counted here, until they are recomputed.
    assert "2 differences between aggregates and readings of these hosts there" in move(
        environment, target, code=1
    )
    assert count(target, "temperature_readings") == 70 + 140 - 1
    assert query(target, "SELECT count(*) AS n FROM sparkle_hosts WHERE last_received_at LIKE '2100%'") == [
        {"n": 1}
    ]
    there = {**environment, "SPARKLE_DATABASE__URL": target}
    assert run_command(there, "rebuild").returncode == 0
    assert "has more readings of a, b, whose aggregates are compared only" in move(environment, target)


def test_aggregates_without_readings_and_of_every_bucket_size_are_moved(
    workspace: Workspace, source: str, tmp_path: Path
) -> None:
    target = f"sqlite:///{tmp_path / 'target.sqlite3'}"
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    hours = {**environment, "SPARKLE_AGGREGATES__BUCKET_SECONDS": "3600"}
    assert run_command(hours, "rebuild").returncode == 0
    assert count(source, "temperature_aggregates") == 3
    plugin = load_plugins(PROJECT / "plugins").installed["Temperature"].plugin
    engine = make_engine(make_url(source))
    with engine.begin() as connection:
        for row in list(plugin.load_aggregates(connection, ["a"], None, 60, 0, 2 * NOON * 1_000_000)):
            earlier = row.bucket_start - 86_400_000_000
            statistics = type(row.statistics)(4, 1.0, 0.25, 0.25, 0.25, earlier)
            plugin.store_aggregates(
                connection, [type(row)("old", row.metric, row.resolution, earlier, statistics)]
            )
    engine.dispose()
    text = move(environment, target)
    assert "2 differences in" in text
    assert "the differences are the same in both databases" in text
    assert_same(source, target, ["temperature_readings", "temperature_aggregates", "sparkle_hosts"])


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_what_either_database_does_not_keep_stays_deleted(
    workspace: Workspace, source: str, database_url: str
) -> None:
    day = NOON // 86_400
    environment = fill(
        source,
        workspace,
        [("Temperature", "a", "k", n, 86_400 * (day - n) + 60 * k) for n in range(5) for k in range(3)],
    )
    here, there = (make_engine(make_url(url)) for url in (source, database_url))
    # Hours and days of all but the last one have been merged here. The oldest day of readings is not kept, nor are two
    # of buckets, although not all rows have been deleted.
    for resolution in (3600, 86_400):
        until = span(86_400 * day)
        advance(here, "Temperature", resolution, merging_until=until, merged_until=until)
    assert run_command(environment, "rebuild").returncode == 0
    advance(here, "Temperature", 0, kept_since=span(86_400 * (day - 3)))
    advance(
        here, "Temperature", 60, kept_since=span(86_400 * (day - 2)), deleted_until=span(86_400 * (day - 3))
    )
    delete(source, "temperature_readings_data", "observed_at", 86_400 * (day - 3))
    # The other one has been used: it keeps less.
    assert run_command(workspace.environment(NOWHERE, database_url), "migrate").returncode == 0
    with there.begin() as connection:
        begin(connection, "Temperature", 60)
    advance(there, "Temperature", 0, kept_since=span(86_400 * (day - 1)))
    report = json.loads(move(environment, database_url, "--json"))
    assert report["complete"] is True
    parts = {
        (each["name"], each["what"]): each["expired"]
        for each in report["parts"]
        if each["what"] == "readings"
    }
    assert parts["Temperature", "readings"] == 6
    (verified,) = (each for each in report["verified"] if each["plugin"] == "Temperature")
    assert verified["from"] == verified["to"]
    assert verified["to"]["differences"] == 0
    assert verified["to"]["readings"] == 6
    assert verified["to"]["not_verifiable"] > 0
    with read_transaction(there) as connection:
        marks = watermarks(connection, "Temperature", 60)
    assert marks[0].kept_since == span(86_400 * (day - 1))
    assert marks[60] == Watermark(kept_since=span(86_400 * (day - 2)))
    assert marks[86_400].merged_until == span(86_400 * day)
    resolutions = "SELECT resolution, count(*) AS n FROM temperature_aggregates GROUP BY resolution"
    kept = {row["resolution"]: row["n"] for row in query(database_url, resolutions)}
    # Buckets of three days.
    assert kept == {60: 9, 3600: 4, 86_400: 4}
    for url in (source, database_url):
        done = run_command(workspace.environment(NOWHERE, url), "verify")
        assert done.returncode == 0, done.stdout + done.stderr
    here.dispose()
    there.dispose()


def delete(url: str, table: str, column: str, before: int) -> None:
    with closing(sqlite3.connect(str(make_url(url).database))) as connection:
        deleted = connection.execute(f"DELETE FROM {table} WHERE {column} < ?", (span(before),)).rowcount
        assert deleted > 0
        connection.commit()


def test_a_move_follows_what_rebuild_has_repaired(workspace: Workspace, source: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'target.sqlite3'}"
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    assert "complete, if no worker" in move(environment, target)
    # Readings are deleted in both databases, and one of the aggregates has the right count and another sum.
    for name in ("source", "target"):
        with closing(sqlite3.connect(tmp_path / f"{name}.sqlite3")) as connection:
            connection.execute("DELETE FROM temperature_readings_data WHERE value >= 10 AND value < 30")
            connection.execute("UPDATE temperature_aggregates_data SET sum = sum + 1 WHERE count = 10")
            connection.commit()
    assert run_command(environment, "rebuild").returncode == 0
    text = move(environment, target)
    assert "Temperature: 2 aggregates read, 2 new or changed, 0 known\n" in text
    assert "complete, if no worker" in text
    assert_same(source, target, ["temperature_readings", "temperature_aggregates"])


NOTES = """
from sqlalchemy import JSON, Column, Integer, Table, Text
from sparkle_app.plugin_api import Base

keyed = Table("notes_keyed", Base.metadata, Column("id", Integer, primary_key=True), Column("note", JSON))
plain = Table("notes_plain", Base.metadata, Column("text", Text), Column("note", JSON))
"""


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_tables_without_keys_and_nulls_of_both_kinds_are_moved(
    workspace: Workspace, source: str, database_url: str, tmp_path: Path
) -> None:
    server = workspace.plugins / "temperature" / "server.py"
    server.write_text(server.read_text() + NOTES)
    environment = fill(source, workspace, [("Temperature", "a", "k", 1, NOON)])

    def change(*statements: str) -> None:
        with closing(sqlite3.connect(tmp_path / "source.sqlite3")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def moved(table: str, columns: str) -> list[tuple[Any, ...]]:
        statement = f"SELECT {columns}, note IS NULL AS missing, note FROM {table}"
        found = [tuple(plain(value) for value in row.values()) for row in query(database_url, statement)]
        return sorted(found, key=str)

    change(
        "INSERT INTO notes_keyed VALUES (1, NULL), (2, 'null'), (3, '[1]')",
        "INSERT INTO notes_plain VALUES ('a', NULL), ('a', 'null'), ('b', '[1]'), ('b', '[1]')",
    )
    text = move(environment, database_url)
    assert "notes_keyed: 3 rows read, 3 new or changed, 0 known\n" in text
    assert "notes_plain: 4 rows read, 4 new or changed, 0 known\n" in text
    assert [row[:2] for row in moved("notes_keyed", "id")] == [(1, 1), (2, 0), (3, 0)]
    assert [row[:2] for row in moved("notes_plain", "text")] == [("a", 0), ("a", 1), ("b", 0), ("b", 0)]
    again = move(environment, database_url)
    assert "notes_keyed: 3 rows read, 0 new or changed, 3 known\n" in again
    assert "notes_plain: 4 rows read, 0 new or changed, 4 known\n" in again
    change(
        "UPDATE notes_keyed SET note = CASE id WHEN 1 THEN 'null' WHEN 2 THEN NULL ELSE note END",
        "DELETE FROM notes_plain WHERE note = '[1]'",
    )
    text = move(environment, database_url)
    assert "notes_keyed: 3 rows read, 2 new or changed, 1 known\n" in text
    assert [row[:2] for row in moved("notes_keyed", "id")] == [(1, 0), (2, 1), (3, 0)]
    assert [row[:2] for row in moved("notes_plain", "text")] == [("a", 0), ("a", 1)]
