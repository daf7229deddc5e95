"""The recovery watchdog, over a recovery and a consumer that a test moves."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.tables.recovery import Recovery as RecoveryService
from faust.types import TP

from sparkle_app.kafka.membership import TableRecovery
from sparkle_app.worker.recovery_watchdog import EXIT_SECONDS, POLL_SECONDS, RecoveryWatchdog
from tests.support.aggregate_world import World

ONE, TWO = TP("changelog", 1), TP("changelog", 2)


class Recovery:
    """A recovery in progress."""

    def __init__(self) -> None:
        self.ended = False
        self.read = {ONE: -1, TWO: 99}
        self.positions: dict[TP, int | None] = {ONE: 0, TWO: 100}
        self.sought: list[Mapping[TP, int]] = []
        self.skipped: list[TP] = []

    def remaining(self) -> Mapping[TP, int]:
        return self.read

    async def position(self, tp: TP) -> int | None:
        return self.positions[tp]

    async def seek(self, offsets: Mapping[TP, int]) -> None:
        self.sought.append(offsets)
        self.positions.update(offsets)

    def skip(self, tp: TP) -> None:
        self.skipped.append(tp)


def watchdog_of(recovery: Recovery) -> RecoveryWatchdog:
    return RecoveryWatchdog(cast(TableRecovery, recovery))


@pytest.fixture
def recovery() -> Recovery:
    return Recovery()


async def test_records_that_the_consumer_has_passed_and_that_did_not_arrive_are_read_again(
    recovery: Recovery, caplog: pytest.LogCaptureFixture
) -> None:
    watchdog = watchdog_of(recovery)
    recovery.positions = {ONE: 216, TWO: 100}
    await watchdog.poll()
    # They may just be on their way.
    assert recovery.sought == []
    await watchdog.poll()
    assert recovery.sought == [{ONE: 0}]
    assert caplog.messages == [
        "table recovery: records of changelog/1 were fetched and discarded: reading them again"
    ]
    recovery.read = {TWO: 99}
    recovery.positions[TWO] = 150
    await watchdog.poll()
    assert len(recovery.sought) == 1
    await watchdog.poll()
    assert recovery.sought[1] == {TWO: 100}


async def test_a_log_that_ends_with_a_transaction_is_recovered(
    recovery: Recovery, caplog: pytest.LogCaptureFixture
) -> None:
    watchdog = watchdog_of(recovery)
    for _ in range(4):
        assert recovery.skipped == []
        # The end of the transaction is no record: reading it again moves the consumer, and nothing arrives.
        recovery.positions[TWO] = 101
        assert await watchdog.poll() is None
    assert recovery.sought == [{TWO: 100}, {TWO: 100}]
    assert recovery.skipped == [TWO]
    assert caplog.messages[-1] == (
        "table recovery: changelog/2 has no record after offset 99, although its log is longer: it is recovered"
    )


async def test_a_slow_broker_is_given_time(recovery: Recovery) -> None:
    watchdog = watchdog_of(recovery)
    for read in range(100):
        recovery.read = {ONE: read, TWO: 99}
        recovery.positions[ONE] = read + 1
        for _ in range(int(EXIT_SECONDS / POLL_SECONDS)):
            assert await watchdog.poll() is None
    assert recovery.sought == []


async def test_a_recovery_that_makes_no_progress_ends_the_worker(recovery: Recovery) -> None:
    watchdog = watchdog_of(recovery)
    reasons = [await watchdog.poll() for _ in range(int(EXIT_SECONDS / POLL_SECONDS) + 1)]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert reasons[-1] == "exiting: table recovery has read nothing of changelog/1, changelog/2 for 120 s"


async def test_without_a_recovery_nothing_happens(recovery: Recovery) -> None:
    recovery.read = {}
    recovery.positions = {ONE: 216}
    watchdog = watchdog_of(recovery)
    assert [await watchdog.poll() for _ in range(100)] == [None] * 100
    assert recovery.sought == []


@pytest.fixture
async def service(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RecoveryService]:
    """Faust's recovery of a worker whose broker does not answer, with a short limit for each step."""
    app = cast(Any, world.worker.app)
    monkeypatch.setattr(app, "_producer", SimpleNamespace(flush=asyncio.Event().wait))
    service = app.tables.recovery
    wait_first = service.wait_first
    monkeypatch.setattr(
        service, "wait_first", lambda *waits, timeout: wait_first(*waits, timeout=timeout and 0.01)
    )
    yield service
    await service.stop()


async def test_a_recovery_that_has_ended_for_good_ends_the_worker(service: RecoveryService) -> None:
    watchdog = RecoveryWatchdog(TableRecovery(service.app))
    assert await watchdog.poll() is None
    await service.start()
    await asyncio.sleep(0.05)
    assert await watchdog.poll() is None
    service.signal_recovery_start.set()
    for _ in range(1000):
        if reason := await watchdog.poll():
            break
        await asyncio.sleep(0.01)
    assert str(reason).startswith("exiting: table recovery has ended, because the broker did not answer")


async def test_a_worker_that_stops_needs_no_recovery(service: RecoveryService) -> None:
    watchdog = RecoveryWatchdog(TableRecovery(service.app))
    await service.start()
    stopping = asyncio.create_task(service.stop())
    while not stopping.done():
        assert await watchdog.poll() is None
        await asyncio.sleep(0)
    assert await watchdog.poll() is None
