"""Aggregates equal a recomputation from the stored readings, for random sequences of samples and faults.

Samples are reordered, repeated and delayed; workers crash, are suspended and are replaced. To test more sequences than
`make test`: ``pytest --hypothesis-profile=thorough tests/unit/test_aggregates_stay_exact.py``.
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
from sparkle_app.storage.data_tables import data_table
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
BEGIN = 1_699_999_980 * SECOND  # the start of a bucket
HOSTS = ("a", "b", "c")  # in both partitions

Drawn = tuple[str, str, float, int, int | None]
"""Hostname, metric, value, and microseconds before the start of the current bucket. The last field is the index of an
earlier reading, whose hostname, metric and time are used instead, so that the samples belong to the same bucket."""

readings: st.SearchStrategy[Drawn] = st.tuples(
    st.sampled_from(HOSTS),
    st.sampled_from(("core", "disk")),
    # Multiples of 1/4: the sums are exact in any order.
    st.integers(-8, 8).map(lambda quarters: quarters / 4),
    # Up to seven buckets back; the table keeps five.
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
    """The process has been killed."""


class Aggregation(RuleBasedStateMachine):
    """One worker at a time, and at most one suspended worker that has been replaced."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        with engine.begin() as connection:
            connection.execute(delete(data_table(DataFrame.__table__)))
            connection.execute(delete(data_table(Aggregates.__table__)))
        self.loop = asyncio.new_event_loop()
        self.broker = MemoryBroker()
        self.now = BEGIN / SECOND
        self.stored: list[StoredReading] = []
        self.pending: list[StoredReading] = []
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
        """Store readings, and forward them immediately or later."""
        self._store(new, again, forwarded=forwarded)

    def _store(self, new: list[Drawn], again: list[int], *, forwarded: bool) -> None:
        """Store new readings, and some known ones again with another time, as a duplicate would be."""
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
        self.pending += returned
        if forwarded:
            self._forward_pending()

    def _forward_pending(self) -> None:
        """Forward the readings that have not been forwarded."""
        self.run(self.forwarder.forward({NAME: self.pending}))
        self.pending = []

    @precondition(lambda self: self.stored)
    @rule(chosen=indexes)
    def forward(self, chosen: list[int]) -> None:
        """Forward any stored readings, in any order and any number of times."""
        some = [self.stored[index % len(self.stored)] for index in chosen]
        self.run(self.forwarder.forward({NAME: some}))
        self.pending = [each for each in self.pending if each not in some]

    @rule()
    def work(self) -> None:
        """The worker processes all messages."""
        self._work(None)

    @rule(reading=readings, fault=faults)
    def disturb(self, reading: Drawn, fault: tuple[str, str]) -> None:
        """A fault occurs while the worker processes a new reading and all other messages."""
        self._store([reading], [], forwarded=True)
        self._work(fault)

    def _work(self, fault: tuple[str, str] | None) -> None:
        self.fault = fault
        self.run(self._step(self.worker.work))

    @rule(fault=st.none() | faults, changelog_lost=st.booleans())
    def restart(self, fault: tuple[str, str] | None, changelog_lost: bool) -> None:
        """Replace the worker, with or without loss of the changelog topic."""
        self.fault = fault
        self.run(self._replace(changelog_lost))

    @rule(buckets=st.integers(1, 4))
    def pass_time(self, buckets: int) -> None:
        """Advance the clock, so that buckets leave the table."""
        self.now += buckets * BUCKET_SECONDS

    @precondition(lambda self: not self.stale)
    @rule(reading=readings, point=st.sampled_from(POINTS))
    def overtake(self, reading: Drawn, point: str) -> None:
        """Suspend the worker in a batch, let another one count one more reading, then resume the first."""
        self._store([reading], [], forwarded=True)
        self._work((point, "suspend"))
        self._store([reading], [], forwarded=True)
        self._work(None)
        if self.stale:
            self.run(self._resume())

    @precondition(lambda self: self.stale)
    @rule()
    def resume(self) -> None:
        """The suspended worker continues where it stopped."""
        self.run(self._resume())

    def teardown(self) -> None:
        """Deliver all samples. Then SQL and the table must be exact, and remain so after restarts of the worker."""
        try:
            self.fault = None
            if self.stale:
                self.run(self._resume())
            self._forward_pending()
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
            raise TransientError("unavailable")

    async def _start_worker(self) -> None:
        self.worker = AggregateWorker(self.broker, self.engine, lambda: self.now, self._reached)
        await self._step(self.worker.start)

    async def _step(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the worker until it has finished or is suspended. If it crashes or is suspended, replace it."""
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


def test_aggregates_equal_a_recomputation_after_any_sequence_of_faults(
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
