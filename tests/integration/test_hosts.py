"""The tables of hosts, in every database, and the command that lists them."""

import asyncio
import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import chain
from urllib.parse import quote

import msgspec
import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from sparkle_app.ingest.host_recorder import HostRecorder
from sparkle_app.model.host_activity import HostActivity, merged
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import LATEST
from sparkle_app.runtime.clock import WallClock
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.storage.earlier_hosts import add_hosts_of_readings
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.host_queries import (
    COUNTED_SECONDS,
    count_hosts,
    select_hosts,
    select_last_receipt,
    select_page_of_hosts,
    select_removed,
)
from sparkle_app.storage.hosts import Host, ReturnedHost, record_activity, remove_host
from sparkle_app.storage.models import Base, ReadingsTable, tables_of
from sparkle_app.worker import host_watch
from sparkle_app.worker.host_watch import watch_hosts
from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.contract import Aggregates, Readings, store
from tests.support.contract import reading as contract_reading
from tests.support.database import EVERY_DATABASE
from tests.support.eventually import eventually
from tests.support.produce import produce
from tests.support.web import request
from tests.support.worker import Workspace, run_command

pytestmark = pytest.mark.any_broker

SECOND = 1_000_000
START = 1_764_000_000 * SECOND


class OtherReadings(ReadingsTable):
    """A table that is not created."""

    __tablename__ = "other_readings"


@pytest.fixture
def engine(any_statements: Engine) -> Engine:
    Base.metadata.create_all(any_statements, tables=[Host.__table__])
    return any_statements


def activity(hostname: str, at: int, plugin: str = "P", config_id: int = 1) -> HostActivity:
    time = START + at * SECOND
    return HostActivity(hostname, plugin, config_id, time, time, time, time)


def record(engine: Engine, *activities: HostActivity) -> list[ReturnedHost]:
    return record_activity(engine, activities, LATEST)


def listed(engine: Engine, plugin: str | None = None, config_id: int | None = None) -> list[HostActivity]:
    with read_transaction(engine) as connection:
        return list(select_hosts(connection, plugin, config_id))


@EVERY_DATABASE
def test_activity_is_merged_with_what_is_stored(engine: Engine) -> None:
    names = ["host", "Host", "host ", "хост", "h" * 1024]
    first = [activity(name, number, plugin) for number, name in enumerate(names) for plugin in ("P", "Q")]
    second = [activity(name, 300 + number, "P", 2) for number, name in enumerate(names)]
    assert record(engine, *first) == []
    assert record(engine, *second) == []
    expected = {(each.hostname, each.plugin): each for each in first}
    expected |= {(each.hostname, "P"): merged(expected[each.hostname, "P"], each) for each in second}
    found = listed(engine)
    assert {(each.hostname, each.plugin): each for each in found} == expected
    assert {each.interval for each in found if each.plugin == "P"} == {300 * SECOND}
    assert {each.hostname for each in listed(engine, "Q")} == set(names)
    assert {each.plugin for each in listed(engine, config_id=2)} == {"P"}


@EVERY_DATABASE
def test_hosts_are_counted_by_plugin_and_state(engine: Engine) -> None:
    record(engine, *(activity(f"host-{number}", number * 100) for number in range(10)))
    record(engine, activity("host-0", 0, "Q"), activity("host-1", 0, "Q"))
    with engine.begin() as connection:
        remove_host(connection, "host-1", "Q", START)
    with read_transaction(engine) as connection:
        # Silent after 15 minutes, as long as the interval is not known.
        assert count_hosts(connection, START + 1000 * SECOND) == {"P": (9, 1), "Q": (0, 1)}
        silent = [each.is_silent(START + 1000 * SECOND) for each in select_hosts(connection, "P")]
        # Those that have been silent for a week do not count any more.
        assert count_hosts(connection, START + (900 + COUNTED_SECONDS) * SECOND) == {
            "P": (0, 10),
            "Q": (0, 1),
        }
        assert count_hosts(connection, START + (1001 + COUNTED_SECONDS) * SECOND) == {"P": (0, 8)}
    assert silent == [True] + [False] * 9


@EVERY_DATABASE
def test_hosts_whose_clock_is_not_trusted_are_listed(engine: Engine) -> None:
    wrong = [activity(f"host-{number}", number) for number in range(4)]
    for number, each in enumerate(wrong[1:]):
        each.clock_offset = (number - 1) * 86_400 * SECOND
    record(engine, *wrong)

    def offsets() -> dict[str, int | None]:
        with read_transaction(engine) as connection:
            page = select_page_of_hosts(connection, None, None, 10, "", untrusted_clock=True)
        return {each.hostname: each.clock_offset for (each,) in page}

    day = 86_400 * SECOND
    assert offsets() == {"host-1": -day, "host-2": 0, "host-3": day}
    record(engine, activity("host-1", 100), activity("host-9", 100))
    assert set(offsets()) == {"host-2", "host-3"}


@EVERY_DATABASE
def test_pages_of_hosts_are_in_order_and_complete(engine: Engine) -> None:
    record(engine, *(activity(f"host-{number:02}", number * 100) for number in range(20)))
    record(engine, activity("host-03", 0, "Q"), activity("host-17", 0, "Q"))
    with engine.begin() as connection:
        remove_host(connection, "host-05", None, START)

    def pages(
        plugin: str | None = None, silent_at: int | None = None, limit: int = 3
    ) -> list[list[HostActivity]]:
        after, found = "", []
        with read_transaction(engine) as connection:
            while page := select_page_of_hosts(connection, plugin, silent_at, limit, after):
                assert len(page) <= limit
                found += page
                after = page[-1][0].hostname
        return found

    every = [f"host-{number:02}" for number in range(20) if number != 5]
    assert [each[0].hostname for each in pages()] == every
    assert [each[0].hostname for each in pages(limit=100)] == every
    assert [[one.plugin for one in each] for each in pages() if len(each) > 1] == [["P", "Q"], ["P", "Q"]]
    assert [(each[0].hostname, each[0].plugin) for each in pages("Q")] == [("host-03", "Q"), ("host-17", "Q")]
    at = START + 1000 * SECOND
    assert [each[0].hostname for each in pages("P", at)] == ["host-00"]
    # Both plugins of a host are shown, even if one of them is not silent.
    assert [[one.is_silent(at) for one in each] for each in pages(None, at)] == [
        [True],
        [False, True],
        [False, True],
    ]


@EVERY_DATABASE
def test_times_of_a_clock_that_was_ahead_are_replaced(engine: Engine) -> None:
    """Otherwise the host would not fall silent until then, and its config would stay what it was."""
    year = 365 * 86_400
    record(engine, activity("ahead", year), activity("ahead by hours", 3600))
    now = START + 10 * SECOND
    with engine.begin() as connection:
        assert select_last_receipt(connection, "P", now) == START + 3600 * SECOND
    activities = [activity("ahead", 10, config_id=2), activity("ahead by hours", 10, config_id=2)]
    assert record_activity(engine, activities, now) == []
    found = {each.hostname: each for each in listed(engine)}
    assert found["ahead"] == activities[0]
    earlier = msgspec.structs.replace(
        activity("ahead", year), first_received_at=START, first_observed_at=START
    )
    record(engine, earlier)
    record_activity(engine, activities[:1], now)
    assert listed(engine)[0] == msgspec.structs.replace(
        activities[0], first_received_at=START, first_observed_at=START, interval=listed(engine)[0].interval
    )
    assert found["ahead by hours"].last_received_at == START + 3600 * SECOND
    assert found["ahead"].is_silent(START + 3600 * SECOND)


@EVERY_DATABASE
def test_a_removed_host_comes_back_as_a_new_one(engine: Engine) -> None:
    record(engine, activity("a", 0), activity("b", 0), activity("a", 0, "Q"))
    with engine.begin() as connection:
        assert remove_host(connection, "a", None, START + SECOND)
        assert not remove_host(connection, "a", None, START + SECOND)
        assert not remove_host(connection, "unknown", None, START)
    assert [each.hostname for each in listed(engine)] == ["b"]

    def removed(since: int) -> set[tuple[str, str]]:
        with read_transaction(engine) as connection:
            return select_removed(connection, since)

    assert removed(START) == {("a", "P"), ("a", "Q")}
    assert removed(START + SECOND) == set()
    # Sent before it was removed: a replay, or what a worker has not recorded yet.
    assert record(engine, activity("a", 1)) == []
    assert [each.hostname for each in listed(engine)] == ["b"]
    assert record(engine, activity("a", 600), activity("b", 600)) == [ReturnedHost("a", "P", START + SECOND)]
    assert removed(START) == {("a", "Q")}
    assert record(engine, activity("a", 900)) == []
    again = listed(engine)[0]
    assert (again.hostname, again.plugin) == ("a", "P")
    assert (again.first_received_at, again.interval) == (START + 600 * SECOND, 300 * SECOND)


@EVERY_DATABASE
def test_one_plugin_of_a_host_can_be_removed(engine: Engine) -> None:
    record(engine, activity("a", 0), activity("a", 0, "Q"))
    with engine.begin() as connection:
        assert remove_host(connection, "a", "Q", START)
    assert [each.plugin for each in listed(engine)] == ["P"]


@EVERY_DATABASE
def test_workers_that_record_the_same_hosts_do_not_lose_anything(engine: Engine) -> None:
    names = [f"host-{number}" for number in range(300)]

    chance = random.Random(1)
    batches = [
        # Of each worker, in minutes: what is newer by seconds is not written. The first and the last time of a host
        # come from any of them.
        [[activity(name, 60 * chance.randrange(60)) for name in chance.sample(names, 200)] for _ in range(5)]
        for _ in range(4)
    ]

    def write(worker: list[list[HostActivity]]) -> None:
        for batch in worker:
            record(engine, *batch)

    with ThreadPoolExecutor(len(batches)) as executor:
        for writing in [executor.submit(write, worker) for worker in batches]:
            writing.result()
    sent: dict[str, list[int]] = {}
    for each in chain.from_iterable(chain.from_iterable(batches)):
        sent.setdefault(each.hostname, []).append(each.last_received_at)
    found = {each.hostname: (each.first_received_at, each.last_received_at) for each in listed(engine)}
    assert found == {hostname: (min(times), max(times)) for hostname, times in sent.items()}


@EVERY_DATABASE
async def test_the_metric_counts_hosts_and_keeps_its_value_while_the_database_does_not_answer(
    engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_watch, "POLL_SECONDS", 0.01)
    metrics = Metrics()
    record(engine, activity("a", 0), activity("b", 950))

    def values() -> tuple[float | None, ...]:
        labels = [{"plugin": plugin, "state": state} for plugin in ("P", "Q") for state in ("ok", "silent")]
        return tuple(metrics.registry.get_sample_value("sparkle_hosts", each) for each in labels)

    async def change(to: tuple[float | None, ...]) -> None:
        await asyncio.to_thread(eventually, values, lambda found: found == to, 10)

    with ThreadPoolExecutor(1) as executor:
        clock = WallClock(lambda: START / SECOND + 1000)
        watching = asyncio.create_task(watch_hosts(engine, executor, clock, metrics, ["P", "Q"]))
        await change((1, 1, 0, 0))
        with engine.begin() as connection:
            remove_host(connection, "a", None, START + SECOND)
            remove_host(connection, "b", None, START + SECOND)
        await change((0, 0, 0, 0))
        Base.metadata.drop_all(engine, tables=[Host.__table__])
        await asyncio.to_thread(eventually, lambda: caplog.messages, bool)
        watching.cancel()
    assert [line.partition(": database: ")[0] for line in caplog.messages] == [
        "cannot count hosts, will retry"
    ]
    assert values() == (0, 0, 0, 0)


@EVERY_DATABASE
async def test_a_removed_host_that_sends_readings_again_is_logged(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPoolExecutor(1) as executor:
        recorder = HostRecorder(engine, executor, lambda: 2e9)
        for at in (0, 300):
            recorder.recent.note({"P": [stored_reading("a\x1b[31m", at)]})
            await recorder.write_all()
            with engine.begin() as connection:
                remove_host(connection, "a\x1b[31m", None, START)
    (line,) = caplog.messages
    assert line == "host a\x1b[31m, which was removed at 2025-11-24T16:00:00Z, sends readings of P again"


@EVERY_DATABASE
def test_hosts_of_readings_that_are_older_than_the_table_are_added(engine: Engine) -> None:
    Base.metadata.create_all(engine, tables=tables_of(Readings, Aggregates))
    rows = [("a", "k", 30, 1), ("a", "k", 10, 2), ("a", "j", 50, 3), ("a", "k", 40, 1), ("b", "k", 5, 1)]
    rows += [("removed", "k", 5, 1), ("known", "k", 5, 1)]
    store(
        engine,
        [
            contract_reading(
                number, hostname=hostname, key=key, observed_at=START + at * SECOND,
                received_at=START + (at + 1) * SECOND, config_id=config_id,
            )
            for number, (hostname, key, at, config_id) in enumerate(rows)
        ],
    )  # fmt: skip
    record_activity(engine, [activity("known", 900), activity("removed", 6)], LATEST)
    with engine.begin() as connection:
        remove_host(connection, "removed", None, START + 1000 * SECOND)
        tables = {"P": Readings.__table__, "Q": OtherReadings.__table__}
        assert add_hosts_of_readings(connection, tables) == 2
    with engine.begin() as connection:
        assert add_hosts_of_readings(connection, tables) == 0
    first, second, third = listed(engine)
    assert first == HostActivity("a", "P", 3, *(START + at * SECOND for at in (11, 51, 10, 50)))
    assert second == HostActivity("b", "P", 1, *(START + at * SECOND for at in (6, 6, 5, 5)))
    assert third == activity("known", 900)


@EVERY_DATABASE
async def test_what_cannot_be_recorded_is_recorded_later_and_costs_no_other_host(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    Base.metadata.drop_all(engine, tables=[Host.__table__])
    with ThreadPoolExecutor(1) as executor:
        recorder = HostRecorder(engine, executor, lambda: 2e9)
        for at in (0, 300):
            recorder.recent.note({"P": [stored_reading(f"host-{number}", at) for number in range(600)]})
            await recorder.write(recorder.recent.take_due())
        Base.metadata.create_all(engine, tables=[Host.__table__])
        # NULL: a row that every database refuses.
        recorder.recent.note({"P": [msgspec.structs.replace(stored_reading("bad", 0), config_id=None)]})
        await recorder.write_all()
    first, second = caplog.messages
    assert first.startswith("cannot record hosts, will retry: database: ")
    assert second.startswith("host bad cannot be recorded: ")
    found = listed(engine)
    assert len(found) == 600
    assert {(each.first_received_at, each.last_received_at) for each in found} == {
        (START, START + 300 * SECOND)
    }


def stored_reading(hostname: str, at: int) -> StoredReading:
    time = START + at * SECOND
    return StoredReading(bytes(16), 1, hostname, "k", 1.0, time, time, True, "t", 0, 0)


def test_the_command_lists_hosts_by_the_config_they_use(
    broker: Broker, workspace: Workspace, database_url: str, start_worker: StartWorker
) -> None:
    collector = Collector(workspace.certs)
    worker = start_worker()
    environment = workspace.environment(broker.bootstrap, database_url)

    def command(*options: str, code: int = 0) -> str:
        done = run_command(environment, "hosts", *options)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    send = [collector.record(f"web-{number}\x1b[31m", "Temperature", "k", 20.0) for number in range(3)]
    produce(broker.bootstrap, workspace.topic, send)
    found = eventually(lambda: json.loads(command("--json")), lambda rows: len(rows) == 3)
    assert [row["host"] for row in found] == [f"web-{number}\x1b[31m" for number in range(3)]
    assert {(row["plugin"], row["config_id"], row["silent"]) for row in found} == {("Temperature", 1, False)}
    status, _, page = request(worker, "/api/v1/hosts?plugin=Temperature&limit=2")
    assert (status, [each["host"] for each in page["hosts"]]) == (200, [row["host"] for row in found[:2]])
    named = [{key: value for key, value in row.items() if key != "host"} for row in found[:2]]
    assert [each["plugins"] for each in page["hosts"]] == [[row] for row in named]
    status, _, page = request(worker, f"/api/v1/hosts?limit=2&after={quote(page['next'])}")
    assert ([each["host"] for each in page["hosts"]], page["next"]) == ([found[2]["host"]], None)
    assert request(worker, "/api/v1/hosts?state=silent")[2]["hosts"] == []
    assert request(worker, "/api/v1/hosts?state=loud")[2]["detail"] == "state: expected silent, found 'loud'"
    assert request(worker, "/api/v1/hosts?plugin=Fans")[0] == 400
    lines = command("--config", "1").splitlines()
    assert lines[0].split() == ["host", "plugin", "config", "last", "received", "age", "every", "state"]
    assert lines[1].startswith("web-0\\x1b[31m  Temperature  1       20")
    assert lines[-1] == "3 hosts, 0 silent"
    assert command("--silent").splitlines()[-1] == "3 hosts, 0 silent"
    assert "expected one of PU_Workload, Temperature, found temperature" in command(
        "--plugin", "temperature", code=2
    )
    assert "nothing was removed" in command("--remove", found[0]["host"], "--remove", "web-9", code=2)
    twice = command("--remove", found[0]["host"], "--remove", found[0]["host"])
    assert twice.count("listed again") == 1
    # Silent after 15 minutes.
    engine = make_engine(make_url(database_url))
    with engine.begin() as connection:
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        of_host = Host.__table__.update().where(Host.__table__.c.name == found[1]["host"])
        connection.execute(of_host.values(last_received_at=hour_ago, silent_after=hour_ago))
    engine.dispose()
    lines = command("--silent", "--plugin", "Temperature", code=1).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["silent", "silent"]
    assert (lines[1].split()[0], lines[2]) == ("web-1\\x1b[31m", "2 hosts, 1 silent")
