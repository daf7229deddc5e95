"""A copy of everything, to a database that has rows already."""

from pathlib import Path

from sqlalchemy import Engine

from sparkle_app.audit.auditor import Auditor
from sparkle_app.audit.copies import audit_copy
from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.storage.engine import read_transaction
from sparkle_app.transfer.moving import Copy
from tests.support.aggregate_worker import NAME, PLUGIN, plain_reading, sqlite_engine
from tests.support.transfer_files import HEADER, LINE
from tests.unit.test_sparkle_command import SPARKLE, run

NOON = 1_764_072_000_000_000


def store(engine: Engine, hostname: str, readings: int, counted: int) -> None:
    """Readings of a host, and an aggregate that has counted so many."""
    first = ord(hostname) * 100
    with engine.begin() as connection:
        PLUGIN.store_readings(
            connection,
            [plain_reading(first + number, hostname, "k", NOON + number, 1.0) for number in range(readings)],
        )
        statistics = Statistics(counted, float(counted), 1.0, 1.0, 1.0, NOON)
        PLUGIN.store_aggregates(connection, [AggregateRow(hostname, "k", 60, NOON, statistics)])


def counts(engine: Engine) -> dict[str, int]:
    with read_transaction(engine) as connection:
        rows = PLUGIN.load_aggregates(connection, ["a", "b", "c"], None, 60, NOON, NOON + 1)
        return {row.hostname: row.statistics.count for row in rows}


def test_aggregates_of_hosts_with_more_readings_in_the_target_only_grow(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    source, target = sqlite_engine(tmp_path / "source"), sqlite_engine(tmp_path / "target")
    store(source, "a", 2, 2)
    # Workers use the target already.
    store(target, "a", 5, 5)
    # Rebuilt in the source since it was copied.
    store(source, "b", 3, 3)
    store(target, "b", 3, 4)
    # The target has more, but has not counted it.
    store(source, "c", 3, 3)
    store(target, "c", 4, 1)
    copy = Copy({NAME: PLUGIN}, source, target, 60)
    copy.copy_watermarks()
    for part in copy.parts():
        for page in part.pages:
            part.store(page)
    assert counts(target) == {"a": 5, "b": 3, "c": 3}


def test_hosts_of_which_the_target_has_more_readings_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    source, target = sqlite_engine(tmp_path / "source"), sqlite_engine(tmp_path / "target")
    for engine in (source, target):
        store(engine, "a", 2, 2)
        store(engine, "b", 2, 2)
    copy = Copy({NAME: PLUGIN}, source, target, 60)
    assert copy.ahead(NAME) == set()
    # A worker uses the target.
    store(target, "a", 3, 3)
    assert (copy.ahead(NAME), list(copy.missing())) == ({"a"}, [])

    def same() -> bool:
        auditors = [Auditor(NAME, PLUGIN, each, 60) for each in (source, target)]
        return audit_copy(auditors[0], auditors[1], copy.ahead(NAME), lambda _rows: None).same

    assert same()
    with target.begin() as connection:
        PLUGIN.delete_aggregates(connection, 60, [("b", NOON, "k")])
    assert not same()
    # One that the target does not have, although it still has more of this host.
    with source.begin() as connection:
        PLUGIN.store_readings(connection, [plain_reading(1, "a", "k", NOON + 9, 1.0)])
    with target.begin() as connection:
        more = [plain_reading(number, "a", "k", NOON + number, 1.0) for number in (11, 12)]
        PLUGIN.store_readings(connection, more)
    assert (copy.ahead(NAME), list(copy.missing())) == ({"a"}, [(NAME, "readings", 1)])


def test_a_move_is_complete_although_the_target_has_got_more(tmp_path: Path) -> None:
    (tmp_path / "first.csv").write_bytes(HEADER + LINE)
    (tmp_path / "more.csv").write_bytes(HEADER + LINE.replace(b"0011", b"ff11"))
    keep = {"SPARKLE_RETENTION__READINGS": "forever", "SPARKLE_RETENTION__BUCKETS": "3y"}
    run(tmp_path, SPARKLE, "import", "Temperature", "first.csv", **keep)
    done = run(tmp_path, SPARKLE, "move", "--to", "sqlite:///new.db", **keep)
    assert done.returncode == 0, done.stdout + done.stderr
    target = {**keep, "SPARKLE_DATABASE__URL": "sqlite:///new.db"}
    run(tmp_path, SPARKLE, "import", "Temperature", "more.csv", **target)
    done = run(tmp_path, SPARKLE, "move", "--to", "sqlite:///new.db", **keep)
    assert done.returncode == 1
    assert (
        "not complete: 1 difference between aggregates and readings of these hosts there; run" in done.stdout
    )
    run(tmp_path, SPARKLE, "rebuild", "--plugin", "Temperature", **target)
    done = run(tmp_path, SPARKLE, "move", "--to", "sqlite:///new.db", **keep)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not complete" not in done.stdout
    assert "new.db has more readings of web-1, whose aggregates are compared only with these\n" in done.stdout
    assert "SPARKLE_DATABASE__URL" in done.stdout or "database.url" in done.stdout
