"""The health checker: whether a worker is ready, and which check fails."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from sparkle_app.ingest.key_breaker import KeyBreaker
from sparkle_app.runtime.clock import WallClock
from sparkle_app.runtime.stages import Stage, Stages
from sparkle_app.storage.engine import make_engine
from sparkle_app.web import health
from sparkle_app.web.health import HealthChecker
from sparkle_app.web.parts import WebParts
from tests.support.cluster import Group
from tests.support.virtual_time import VirtualClock


class Database:
    """SQLite that can fail or hang, and counts its connections."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.error: Exception | None = None
        self.connected = 0
        self.engine = create_engine("sqlite://", creator=self._connect, poolclass=NullPool)

    def _connect(self) -> sqlite3.Connection:
        self.connected += 1
        assert self.answers.wait(10)
        if self.error:
            raise self.error
        return sqlite3.connect(":memory:", check_same_thread=False)


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database()
    yield database
    database.answers.set()
    database.engine.dispose()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    clock = VirtualClock(1000.0)
    monkeypatch.setattr(health, "time", clock)
    return clock


def checker(
    database: Database,
    group: Group | None = None,
    stages: Stages | None = None,
    clock: WallClock | None = None,
    warnings: dict[str, str] | None = None,
) -> HealthChecker:
    # The health checker uses no other parts.
    parts = SimpleNamespace(
        group=group or Group(),
        engine=database.engine,
        metrics=SimpleNamespace(stages=stages or Stages()),
        breaker=KeyBreaker(1),
        clock=clock or WallClock(),
        warnings=warnings or {},
    )
    return HealthChecker(cast(WebParts, parts))


async def test_a_worker_is_ready_if_all_checks_succeed(clock: VirtualClock, database: Database) -> None:
    found = await checker(database).check()
    assert found.ready
    assert found.checks == {
        "broker": "ok",
        "tables": "ok",
        "database": "ok",
        "pipelines": "ok",
        "private keys": "ok",
        "clock": "ok",
    }


async def test_a_worker_whose_batch_stays_in_a_stage_is_not_ready_and_names_it(
    clock: VirtualClock, database: Database
) -> None:
    stages = Stages(clock.monotonic)
    checking = checker(database, stages=stages)
    with stages.run(Stage.STORE) as run:
        run.error = "database: disk full"
        clock.now += 9
        assert (await checking.check()).ready
        clock.now += 2
        found = await checking.check()
        assert not found.ready
        assert found.checks["pipelines"] == "stage store in progress for 11 s: database: disk full"
        assert found.checks["database"] == "ok"
    assert (await checking.check()).ready


async def test_a_worker_with_a_warning_is_ready(clock: VirtualClock, database: Database) -> None:
    warnings = {"disk": "data is 93 % full"}
    checking = checker(database, warnings=warnings)
    found = await checking.check()
    assert found.ready
    assert found.warnings == {"disk": "data is 93 % full"}
    assert "disk" not in found.checks
    warnings.clear()
    assert b"warnings" not in msgspec.json.encode(await checking.check())


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"in_session": False}, {"broker"}),
        ({"joined": False}, {"broker"}),
        ({"problem": "missing topics: telemetry"}, {"broker"}),
        ({"complete": False}, {"tables"}),
        ({"in_session": False, "joined": False, "complete": False}, {"broker", "tables"}),
    ],
)
async def test_a_worker_is_not_ready_and_names_the_failed_checks(
    clock: VirtualClock, database: Database, changes: dict[str, Any], wrong: set[str]
) -> None:
    found = await checker(database, replace(Group(), **cast(Any, changes))).check()
    assert not found.ready
    assert {name for name, text in found.checks.items() if text != "ok"} == wrong


async def test_an_unreachable_broker_and_a_rebalance_have_different_texts(
    clock: VirtualClock, database: Database
) -> None:
    group = Group(in_session=False, joined=False)
    unreachable = (await checker(database, group).check()).checks["broker"]
    group.in_session = True
    joining = (await checker(database, group).check()).checks["broker"]
    assert len({unreachable, joining, "ok"}) == 3
    group.in_session, group.refusal = False, "GroupAuthorizationFailedError"
    assert (await checker(database, group).check()).checks["broker"] == group.refusal


async def test_a_worker_is_ready_as_soon_as_it_is_in_the_group_again(
    clock: VirtualClock, database: Database
) -> None:
    group = Group(in_session=False)
    checking = checker(database, group)
    assert not (await checking.check()).ready
    group.in_session = True
    assert (await checking.check()).ready


async def test_an_unavailable_database_is_reported_by_type_of_error_until_it_is_available_again(
    clock: VirtualClock, database: Database
) -> None:
    database.error = sqlite3.OperationalError("password of db.example refused")
    checking = checker(database)
    found = await checking.check()
    assert not found.ready
    assert "OperationalError" in found.checks["database"]
    # The response must not contain the text of the error.
    assert "password" not in found.checks["database"]
    database.error = None
    clock.now += 2
    assert (await checking.check()).ready


async def test_the_database_is_checked_at_most_every_two_seconds(
    clock: VirtualClock, database: Database
) -> None:
    checking = checker(database)
    for _ in range(50):
        assert (await checking.check()).ready
        clock.now += 0.125
    assert database.connected == 4


async def test_a_database_that_hangs_is_reported_in_time_and_occupies_one_thread(
    clock: VirtualClock, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    checking = checker(database)
    assert (await checking.check()).ready
    connected = database.connected
    database.answers.clear()
    monkeypatch.setattr(health, "_TIMEOUT_SECONDS", 0.1)
    for _ in range(3):
        clock.now += 2
        async with asyncio.timeout(5):
            found = await checking.check()
        assert not found.ready
        assert found.checks["database"] != "ok"
    # No further check starts while one hangs.
    assert database.connected == connected + 1
    database.answers.set()
    checks, ready = 0, False
    while not ready and checks < 50:
        clock.now += 2
        checks += 1
        ready = (await checking.check()).ready
    assert ready
    # No checks were queued while one hung.
    assert database.connected <= connected + 1 + checks


async def test_while_the_first_check_hangs_others_do_not_wait(
    clock: VirtualClock, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.answers.clear()
    monkeypatch.setattr(health, "_TIMEOUT_SECONDS", 0.1)
    checking = checker(database)
    first = asyncio.create_task(checking.check())
    await asyncio.sleep(0)
    assert not (await checking.check()).ready
    assert not first.done()
    assert not (await first).ready


async def test_the_engine_of_a_worker_is_checked(clock: VirtualClock, tmp_path: Path) -> None:
    engine = make_engine(cast(Any, create_engine(f"sqlite:///{tmp_path}/db.sqlite3").url))
    parts = SimpleNamespace(
        group=Group(),
        engine=engine,
        metrics=SimpleNamespace(stages=Stages()),
        breaker=KeyBreaker(1),
        clock=WallClock(),
        warnings={},
    )
    assert (await HealthChecker(cast(WebParts, parts)).check()).ready
    engine.dispose()
