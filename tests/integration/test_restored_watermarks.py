"""A backup from before rows expired: its watermarks are its own, and retention comes to the same result again."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from sparkle_app.audit.auditor import Auditor
from sparkle_app.model.buckets import AggregateRow
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.retention import DAY, HOUR, READINGS, Retention, Watermark
from sparkle_app.model.time import EARLIEST, LATEST, span
from sparkle_app.plugin_api import Base, Plugin
from sparkle_app.retention.retainer import Retainer
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.hosts import Host
from sparkle_app.storage.models import tables_of
from sparkle_app.storage.retention import begin, watermarks
from tests.support.contract import Aggregates, Readings, reading

FIRST_DAY = 1_763_942_400_000_000
KEPT = Retention(3 * DAY, 2 * DAY, 30 * DAY, None)
HOST = "host"


class Own(Plugin):
    DataFrame = Readings
    Aggregates = Aggregates


PLUGIN = Own()


def day(number: float) -> int:
    return FIRST_DAY + int(number * span(DAY))


def retain(engine: Engine, now: int) -> None:
    list(Retainer("p", PLUGIN, engine, 60, KEPT).run(now))


def differences(engine: Engine) -> int:
    auditor = Auditor("p", PLUGIN, engine, 60)
    return sum(len(page.differences) for page in auditor.compare(auditor.scope(EARLIEST, LATEST)))


def rebuild(engine: Engine) -> None:
    auditor = Auditor("p", PLUGIN, engine, 60)
    for page in auditor.compare(auditor.scope(EARLIEST, LATEST)):
        auditor.repair(page)


def rows(engine: Engine) -> tuple[list[StoredReading], list[list[AggregateRow]]]:
    with read_transaction(engine) as connection:
        stored = list(PLUGIN.load_readings(connection, [HOST], EARLIEST, LATEST))
        aggregates = [
            list(PLUGIN.load_aggregates(connection, [HOST], None, each, EARLIEST, LATEST))
            for each in (60, HOUR, DAY)
        ]
    return stored, aggregates


def store(engine: Engine, numbers: range) -> None:
    """Six readings a day, of whole numbers: their sums are exact."""
    with engine.begin() as connection:
        PLUGIN.store_readings(
            connection, [reading(n, hostname=HOST, value=float(n), observed_at=day(n / 6)) for n in numbers]
        )


def test_a_backup_from_before_the_deletion_is_retained_again(tmp_path: Path) -> None:
    file, backup = tmp_path / "x.sqlite3", tmp_path / "backup.sqlite3"
    engine = make_engine(make_url(f"sqlite:///{file}"))
    Base.metadata.create_all(engine, tables=[Host.__table__, *tables_of(Readings, Aggregates)])
    with engine.begin() as connection:
        begin(connection, "p", 60)
    store(engine, range(24))
    rebuild(engine)
    # Of the fourth day; some days have been merged.
    retain(engine, day(3.5))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"VACUUM INTO '{backup}'")
    store(engine, range(24, 48))
    rebuild(engine)
    retain(engine, day(8))
    expected = rows(engine)
    assert min(each.observed_at for each in expected[0]) == day(5)
    assert differences(engine) == 0

    restored = make_engine(make_url(f"sqlite:///{backup}"))
    with read_transaction(restored) as connection:
        marks = watermarks(connection, "p", 60)
    assert marks[READINGS].kept_since == day(0)
    assert marks[60] == Watermark(kept_since=day(1), deleted_until=day(1))
    # What had expired since is there again, and correct.
    assert min(each.observed_at for each in rows(restored)[0]) == day(0)
    assert differences(restored) == 0
    # Workers read again what Kafka retains, then retention continues from the watermarks of the backup.
    store(restored, range(20, 48))
    assert differences(restored) > 0
    rebuild(restored)
    assert differences(restored) == 0
    retain(restored, day(8))
    assert rows(restored) == expected
    assert differences(restored) == 0
    for each in (engine, restored):
        each.dispose()
