"""Records become rows, aggregates and dead letters, with real brokers and databases."""

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.produce import consume_all, produce
from tests.support.record_batches import RawRecord, produce_batch
from tests.support.worker import Workspace, run_command

TABLES = {"Temperature": "temperature", "PU_Workload": "pu_workload"}
Sent = list[tuple[str, str, str, float, datetime]]


def good_records(collector: Collector, number: int) -> tuple[list[bytes], Sent]:
    """Records of 20 hosts in four time zones, out of order by up to four minutes, and the readings in them."""
    chance = random.Random(number)
    now = datetime.now(UTC)
    records, sent = [], []
    for index in range(number):
        host = f"host-{index % 20}"
        plugin = chance.choice(list(TABLES))
        # Less than 7.5 minutes before the record's timestamp, so that the host's clock is trusted.
        when = now - timedelta(seconds=chance.uniform(0, 240))
        value = round(chance.uniform(1, 99), 3)
        key = f"sensor {index % 4}"
        offset = timedelta(hours=(0, 3, 5.5, -8)[index % 4])
        records.append(collector.record(host, plugin, key, value, (when + offset).replace(tzinfo=None)))
        sent.append((plugin, host, key, value, when))
    return records, sent


def bad_records(collector: Collector, each: int) -> tuple[list[bytes], Counter[str]]:
    """Invalid records of ten kinds, and how many dead letters they must become by reason."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    stranger = Collector.__new__(Collector)
    stranger.config_id, stranger._public = collector.config_id, other
    unknown = Collector.__new__(Collector)
    unknown.config_id, unknown._public = 4711, other

    def with_fields(**changes: Any) -> bytes:
        fields = json.loads(collector.record("host-1", "Temperature", "k", 1.0)) | changes
        return json.dumps({key: value for key, value in fields.items() if value is not None}).encode()

    kinds: dict[str, Callable[[], bytes]] = {
        "not_json": lambda: b"\xff\xfe" + random.randbytes(8),
        "bad_field": lambda: with_fields(hostname=None),
        "bad_hostname": lambda: with_fields(hostname="a\0b"),
        "bad_datetime": lambda: with_fields(datetime="yesterday"),
        "bad_base64": lambda: with_fields(payload="***"),
        "unknown_config": lambda: unknown.record("host-1", "Temperature", "k", 1.0),
        "undecryptable": lambda: stranger.record("host-1", "Temperature", "k", 1.0),
        "bad_payload": lambda: collector.envelope("host-1", collector.encrypt(b"[1, 2]")),
        "unknown_plugin": lambda: collector.record("host-1", "Fans", "k", 1.0),
        "invalid_value": lambda: collector.record("host-1", "PU_Workload", "k", 101),
    }
    return [make() for make in kinds.values() for _ in range(each)], Counter(dict.fromkeys(kinds, each))


def expected_aggregates(sent: Sent) -> dict[tuple[str, str, str, datetime], dict[str, float]]:
    """Statistics by plugin, host, metric and minute, calculated independently of the handler."""
    values: dict[tuple[str, str, str, datetime], list[tuple[datetime, float]]] = defaultdict(list)
    for plugin, host, key, value, when in sent:
        values[plugin, host, key, when.replace(second=0, microsecond=0)].append((when, value))
    return {
        bucket: {
            "count": len(readings),
            "sum": math.fsum(value for _, value in readings),
            "minimum": min(value for _, value in readings),
            "maximum": max(value for _, value in readings),
            "last": max(readings)[1],
        }
        for bucket, readings in values.items()
    }


def stored_aggregates(url: str) -> dict[tuple[str, str, str, datetime], dict[str, float]]:
    found = {}
    for plugin, table in TABLES.items():
        for row in query(url, f"SELECT * FROM {table}_aggregates"):
            start = row["bucket_start"]
            start = datetime.fromisoformat(start) if isinstance(start, str) else start
            start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
            statistics = {name: row[name] for name in ("count", "sum", "minimum", "maximum", "last")}
            found[plugin, row["hostname"], row["metric"], start] = statistics
            assert row["resolution"] == 60
    return found


def assert_same(found: dict[Any, dict[str, float]], expected: dict[Any, dict[str, float]]) -> None:
    assert set(found) == set(expected)
    for bucket, statistics in expected.items():
        # Floating-point sums depend on the order of addition.
        assert found[bucket] == pytest.approx(statistics, rel=1e-9), bucket


@pytest.mark.parametrize(
    ("workers", "database_url"),
    [(1, "sqlite"), (2, "sqlite"), (1, "postgresql"), (2, "postgresql"), (2, "mariadb")],
    indirect=["database_url"],
)
def test_a_thousand_records_become_900_rows_and_100_dead_letters(
    workers: int, broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    collector = Collector(workspace.certs)
    for _ in range(workers):
        start_worker()
    good, sent = good_records(collector, 900)
    bad, reasons = bad_records(collector, 10)
    records = good + bad
    random.Random(1).shuffle(records)
    placed = dict(zip(records, produce(broker.bootstrap, workspace.topic, records), strict=True))

    def rows() -> int:
        return sum(count(database_url, f"{table}_readings") for table in TABLES.values())

    eventually(rows, lambda found: found >= 900)
    letters = eventually(
        lambda: consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters"),
        lambda found: len(found) >= 100,
    )
    expected = expected_aggregates(sent)

    def counted() -> float:
        return sum(bucket["count"] for bucket in stored_aggregates(database_url).values())

    eventually(counted, lambda found: found >= 900)

    assert rows() == 900
    assert len(letters) == 100
    assert Counter(dict(letter.headers)["sparkle-reason"].decode() for letter in letters) == reasons
    for letter in letters:
        headers = {name: value.decode() for name, value in letter.headers if name != "sparkle-cause"}
        assert letter.value in bad
        assert headers["sparkle-topic"] == workspace.topic
        assert (int(headers["sparkle-partition"]), int(headers["sparkle-offset"])) == placed[letter.value]
    assert_same(stored_aggregates(database_url), expected)
    for plugin in TABLES:
        for topic in (f"{workspace.app_id}-{plugin}-samples", f"{workspace.app_id}-{plugin}-60s-changelog"):
            sealed = consume_all(broker.bootstrap, topic)
            assert sealed, topic
            assert not [record for record in sealed if b"sensor" in (record.value or b"")], (
                f"{topic} is readable"
            )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_invalid_record_of_the_maximum_size_does_not_stop_its_partition(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    collector = Collector(workspace.certs)
    start_worker()
    large = b"x" * 999_900
    good = collector.record("host-1", "Temperature", "k", 20.0)
    produce(broker.bootstrap, workspace.topic, [large, good], partition=0)
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 1)
    (letter,) = eventually(lambda: consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters"), bool)
    assert letter.value == large


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_header_name_that_is_not_utf_8_does_not_stop_its_partition(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    """Kafka accepts such names, and clients in C or Go send them."""
    collector = Collector(workspace.certs)
    worker = start_worker()
    good = [collector.record("host-1", "Temperature", "k", 20.0 + number) for number in range(4)]
    for compression in (0, 1):
        values = [good.pop(), b"junk", good.pop()]
        records = [RawRecord(value, b"Gr\xf6\xdfe" if value is values[-1] else None) for value in values]
        produce_batch(broker.bootstrap, workspace.topic, records, compression)
    produce(
        broker.bootstrap, workspace.topic, [collector.record("host-2", "Temperature", "k", 1.0)], partition=0
    )
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 5)
    letters = f"{workspace.app_id}-dead-letters"
    eventually(lambda: consume_all(broker.bootstrap, letters), lambda found: len(found) == 2)
    # Also in the topic of dead letters, where everybody may produce who may produce dead letters.
    produce_batch(broker.bootstrap, letters, [RawRecord(b"x", b"\xff")])
    listed = run_command(workspace.environment(broker.bootstrap, database_url), "dead-letters")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "2 dead letters in" in listed.stdout
    assert worker.get("/health/ready")[0] == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_starts_when_there_are_dead_letters_and_they_can_be_replayed(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    Collector(workspace.certs)
    start_worker()
    produce(broker.bootstrap, workspace.topic, [b"junk"])
    eventually(lambda: consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters"), bool)
    # Unlike Kafka, the embedded broker returns offsets by timestamp for empty partitions as well.
    start_worker()
    sent = run_command(workspace.environment(broker.bootstrap, database_url), "replay", "--all")
    assert (sent.returncode, sent.stderr) == (0, "")
    assert sent.stdout.startswith("1 dead letter replayed; ")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_hostile_record_batches_do_not_stop_their_partition(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    collector = Collector(workspace.certs)
    worker = start_worker()
    good = [collector.record("host-1", "Temperature", "k", 20.0 + number) for number in range(5)]

    def produced(records: list[RawRecord], compression: int = 0) -> None:
        produce_batch(broker.bootstrap, workspace.topic, records, compression)

    produced([RawRecord(good[0], attributes=0x80), RawRecord(good[1], attributes=0xFF)])
    # All later offsets would count as consumed.
    produced([RawRecord(good[2], offset=2**31 - 1)])
    zstd = 4
    produced([RawRecord(b"\0" * 300_000_000)], zstd)
    produced([RawRecord(good[3]), RawRecord(good[4])], zstd)
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 5)
    letters = f"{workspace.app_id}-dead-letters"
    (letter,) = eventually(lambda: consume_all(broker.bootstrap, letters), bool)
    assert (letter.value, dict(letter.headers)["sparkle-offset"]) == (b"", b"3")
    worker.kill()
    # Nothing was committed that does not exist.
    start_worker()
    produced([RawRecord(collector.record("host-2", "Temperature", "k", 1.0))])
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 6)


@pytest.mark.kafka
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_compressed_record_above_the_size_limit_does_not_stop_its_partition(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    collector = Collector(workspace.certs)
    start_worker()
    large = b"x" * (17 * 1024 * 1024)
    produce(broker.bootstrap, workspace.topic, [large], partition=0, compression="gzip")
    produce(broker.bootstrap, workspace.topic, [collector.record("h", "Temperature", "k", 1.0)], partition=0)
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 1)
    (letter,) = consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters")
    assert letter.value == b""
    assert dict(letter.headers)["sparkle-size"] == str(len(large)).encode()


def test_the_longest_names_fit_into_the_database(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    """Names are random, so that the database cannot compress them."""
    collector = Collector(workspace.certs)
    chance = random.Random(1)
    start_worker()
    long = "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(341))
    # The longest key that a payload of RSA-2048 can contain.
    key = "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(50))
    inner = json.dumps({"plugin": "Temperature", "key": key, "value": 1.0}, ensure_ascii=False).encode()
    good = [collector.envelope(name, collector.encrypt(inner)) for name in (long, "host-1")]
    bad = collector.envelope(long + "漢", collector.encrypt(inner))
    produce(broker.bootstrap, workspace.topic, [bad, *good])
    counted = "SELECT count(*) AS n FROM temperature_aggregates"
    eventually(lambda: count(database_url, "temperature_aggregates"), lambda found: found == 2)
    assert query(database_url, counted)[0]["n"] == count(database_url, "temperature_readings") == 2
    (letter,) = consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters")
    assert dict(letter.headers)["sparkle-reason"] == b"bad_hostname"
