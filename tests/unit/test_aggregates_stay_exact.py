"""Aggregates are those of the stored readings: whatever the order, however often, wherever a worker dies or is late.

More than `make test` tries: ``pytest --hypothesis-profile=thorough tests/unit/test_aggregates_stay_exact.py``.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from sqlalchemy import Engine, delete

from sparkle_app.aggregate import agent, table
from sparkle_app.model.errors import TransientError
from sparkle_app.model.reading import StoredReading
from sparkle_app.storage.engine import read_transaction
from tests.support.aggregate_worker import (
    BUCKET_SECONDS,
    CHANGELOG,
    GROUP,
    NAME,
    PARTITIONS,
    PLUGIN,
    POINTS,
    RETENTION_SECONDS,
    Aggregates,
    AggregateWorker,
    DataFrame,
    create_topics,
    forwarder,
    plain_reading,
    sqlite_engine,
)
from tests.support.fake_clock import FakeClock
from tests.support.memory_broker import MemoryBroker
from tests.support.memory_faust import MemoryApp
from tests.support.process_exit import ProcessExited, raise_instead_of_exit
from tests.support.recomputation import Statistics, as_tuple, recomputed

SECOND = 1_000_000
BUCKET = BUCKET_SECONDS * SECOND
BEGIN = 1_699_999_980 * SECOND  # a bucket's start
HOSTS = ("a", "b", "c")  # of both partitions

Drawn = tuple[str, str, float, int, int | None]
"""Hostname, metric, value, microseconds before the present bucket's start; and which earlier reading it is late for, to
be of its host, metric and time instead."""

readings: st.SearchStrategy[Drawn] = st.tuples(
    st.sampled_from(HOSTS),
    st.sampled_from(("core", "disk")),
    # Quarters: their sums are exact in any order.
    st.integers(-8, 8).map(lambda quarters: quarters / 4),
    # The table reaches five buckets back.
    st.builds(
        lambda buckets, at: buckets * BUCKET - at, st.integers(-1, 7), st.sampled_from((0, 1, 30 * SECOND))
    ),
    st.none() | st.integers(0, 1_000),
)
indexes = st.lists(st.integers(0, 1_000), min_size=1, max_size=6)
faults = st.tuples(
    st.sampled_from(POINTS), st.sampled_from(("crash", "defect", "rebalance", "suspend", "fail"))
)


class Crash(BaseException):
    """The process is gone."""


class Aggregation(RuleBasedStateMachine):
    """One worker at a time, and perhaps one that was suspended and does not know that it was replaced."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        with engine.begin() as connection:
            connection.execute(delete(DataFrame))
            connection.execute(delete(Aggregates))
        self.loop = asyncio.new_event_loop()
        self.broker = MemoryBroker()
        self.now = BEGIN / SECOND
        self.stored: list[StoredReading] = []
        self.owed: list[StoredReading] = []
        self.fault: tuple[str, str] | None = None
        self.suspended = asyncio.Event()
        self.stale: tuple[asyncio.Future[None], asyncio.Event] | None = None
        self.run(create_topics(self.broker))
        self.run(self._prepare())

    async def _prepare(self) -> None:
        self.forwarder = forwarder(MemoryApp(self.broker, "ingest"))
        await self._start_worker()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    @rule(
        new=st.lists(readings, min_size=1, max_size=4),
        again=st.lists(st.integers(0, 1_000), max_size=2),
        forwarded=st.booleans(),
    )
    def ingest(self, new: list[Drawn], again: list[int], forwarded: bool) -> None:
        """Readings are stored, and forwarded at once or later."""
        self._store(new, again, forwarded=forwarded)

    def _store(self, new: list[Drawn], again: list[int], *, forwarded: bool) -> None:
        """Raw readings are committed; some of them once more, as their replay would be, with another time."""
        present = int(self.now) * SECOND // BUCKET * BUCKET
        rows = []
        for number, (hostname, metric, value, before, late_for) in enumerate(new, len(self.stored)):
            place = hostname, metric, present - before
            if self.stored and late_for is not None:
                early = self.stored[late_for % len(self.stored)]
                place = early.hostname, early.key, early.observed_at
            rows.append(plain_reading(number, *place, value))
        for index in again:
            known = (self.stored or [row.as_stored() for row in rows])[index % max(len(self.stored), 1)]
            rows.append(plain_reading(int.from_bytes(known.id[:8]), known.hostname, known.key, BEGIN, 99.0))
        with self.engine.begin() as connection:
            returned = PLUGIN.store_readings(connection, rows)
        self.stored += [row.as_stored() for row in rows[: len(new)]]
        self.owed += returned
        if forwarded:
            self._settle()

    def _settle(self) -> None:
        """Forward what was not yet."""
        self.run(self.forwarder.forward({NAME: self.owed}))
        self.owed = []

    @precondition(lambda self: self.stored)
    @rule(chosen=indexes)
    def forward(self, chosen: list[int]) -> None:
        """Samples of any stored readings, in any order, any number of times."""
        some = [self.stored[index % len(self.stored)] for index in chosen]
        self.run(self.forwarder.forward({NAME: some}))
        self.owed = [each for each in self.owed if each not in some]

    @rule()
    def work(self) -> None:
        """The worker handles what there is."""
        self._work(None)

    @rule(reading=readings, fault=faults)
    def disturb(self, reading: Drawn, fault: tuple[str, str]) -> None:
        """Something happens to the worker while it handles a reading and whatever else there is."""
        self._store([reading], [], forwarded=True)
        self._work(fault)

    def _work(self, fault: tuple[str, str] | None) -> None:
        self.fault = fault
        self.run(self._step(self.worker.work))

    @rule(fault=st.none() | faults, changelog_lost=st.booleans())
    def restart(self, fault: tuple[str, str] | None, changelog_lost: bool) -> None:
        """The worker dies and another one starts, perhaps without the changelog."""
        self.fault = fault
        self.run(self._replace(changelog_lost))

    @rule(buckets=st.integers(1, 4))
    def pass_time(self, buckets: int) -> None:
        """Buckets leave the table."""
        self.now += buckets * BUCKET_SECONDS

    @precondition(lambda self: not self.stale)
    @rule(reading=readings, point=st.sampled_from(POINTS))
    def overtake(self, reading: Drawn, point: str) -> None:
        """The worker is suspended in a batch, another one counts one reading more, and the first goes on."""
        self._store([reading], [], forwarded=True)
        self._work((point, "suspend"))
        self._store([reading], [], forwarded=True)
        self._work(None)
        if self.stale:
            self.run(self._resume())

    @precondition(lambda self: self.stale)
    @rule()
    def resume(self) -> None:
        """The suspended worker goes on where it was, and writes late."""
        self.run(self._resume())

    def teardown(self) -> None:
        """All samples arrive in the end. Then SQL and the table are right, and stay so when the worker starts again."""
        try:
            self.fault = None
            if self.stale:
                self.run(self._resume())
            self._settle()
            self._work(None)
            self._check()
            for changelog_lost in (False, True):
                self.run(self._replace(changelog_lost))
                self._check()
        finally:
            self.loop.close()

    def _check(self) -> None:
        expected = recomputed(self.stored, BUCKET)
        with read_transaction(self.engine) as connection:
            rows = list(PLUGIN.load_aggregates(connection, HOSTS, None, BUCKET_SECONDS, 0, 2 * BEGIN))
        in_sql: dict[tuple[str, int], dict[str, Statistics]] = {}
        for row in rows:
            metrics = in_sql.setdefault((row.hostname, row.bucket_start), {})
            metrics[row.metric] = as_tuple(row.statistics)
        assert in_sql == expected
        in_table = {
            key: {name: as_tuple(each) for name, each in bucket.metrics.items()}
            for key, bucket in self.worker.buckets().items()
        }
        oldest = (self.now - RETENTION_SECONDS) * SECOND // BUCKET * BUCKET
        assert {key for key in expected if key[1] >= oldest} <= in_table.keys()
        for key, metrics in in_table.items():
            assert metrics == expected[key]
            assert key[1] in self.worker.table._starts[key[0]]

    async def _reached(self, worker: AggregateWorker, point: str) -> None:
        if worker is not self.worker or not self.fault or self.fault[0] != point:
            return
        (_, action), self.fault = self.fault, None
        if action == "defect" and point != "fetched":
            raise ValueError("a defect")
        if action == "crash" or (action == "suspend" and self.stale):
            raise Crash
        if action == "suspend":
            resume = asyncio.Event()
            self.stale = asyncio.current_task(), resume  # type: ignore[assignment]
            self.suspended.set()
            await resume.wait()
        elif action == "rebalance":
            self.broker.rebalance(GROUP)
            await worker.app.rebalance()
        elif action == "fail" and point == "send":
            raise KafkaError
        elif action == "fail" and point not in ("fetched", "ack", "commit"):
            raise TransientError("away")

    async def _start_worker(self) -> None:
        self.worker = AggregateWorker(self.broker, self.engine, lambda: self.now, self._reached)
        await self._step(self.worker.start)

    async def _step(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let the worker work until it is done, dies or is suspended; then another one takes its place."""
        self.suspended.clear()
        task = asyncio.ensure_future(work())
        suspended = asyncio.ensure_future(self.suspended.wait())
        await asyncio.wait({task, suspended}, return_when=asyncio.FIRST_COMPLETED)
        suspended.cancel()
        if task.done():
            try:
                task.result()
            except (Crash, ProcessExited):
                await self._replace(False)
        else:
            assert self.stale
            self.stale = task, self.stale[1]
            await self._replace(False)

    async def _replace(self, changelog_lost: bool) -> None:
        await self.broker.evict(self.worker.app.connection)
        if changelog_lost:
            await self.broker.create_topic(CHANGELOG, PARTITIONS)
        await self._start_worker()

    async def _resume(self) -> None:
        assert self.stale
        (task, resume), self.stale = self.stale, None
        resume.set()
        await task


def test_aggregates_equal_a_recomputation_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_instead_of_exit(monkeypatch, agent, table)
    FakeClock().replace_sleep_of_retries(monkeypatch)
    engine = sqlite_engine(tmp_path)
    try:
        run_state_machine_as_test(
            cast(Any, lambda: Aggregation(engine)),
            settings=settings(
                max_examples=settings().max_examples // 2, stateful_step_count=20, deadline=None
            ),
        )
    finally:
        engine.dispose()
