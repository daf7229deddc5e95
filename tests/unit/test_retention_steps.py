"""How a run of retention divides its work into pieces and transactions."""

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection, Engine

from sparkle_app.retention import steps
from sparkle_app.retention.steps import STEP_SECONDS, Action, Piece, Portion, Step, in_transactions
from tests.support.aggregate_worker import sqlite_engine

HOUR, MINUTE = 3600, 60


class World:
    """Work whose time is computed from what a piece contains."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine = engine
        self.now = 0.0
        self.pieces: list[Piece] = []
        self.rows: Callable[[Piece], int] = lambda _: 1000
        """Of a piece."""
        monkeypatch.setattr(steps, "time", SimpleNamespace(monotonic=lambda: self.now))

    def run(self, portion: Portion, hosts: int, hours: int, cost: Callable[[Piece], float]) -> list[Step]:
        """Work on all hosts, hour by hour.

        Arguments:
            cost: seconds of a piece.
        """

        def work(_connection: Connection, piece: Piece) -> int:
            self.pieces.append(piece)
            self.now += cost(piece)
            return self.rows(piece)

        names = [f"host-{number:04}" for number in range(hosts)]

        def pieces() -> steps.Pieces:
            rows = 0
            for start in range(0, hours * HOUR, HOUR):
                rows += yield from portion.pieces(names, start, start + HOUR, MINUTE)
            return rows

        done = []
        for step in in_transactions(self.engine, Action.DELETE, 60, pieces(), work):
            done.append(step)
            # Others write meanwhile.
            self.now += step.pause
        return done


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    engine = sqlite_engine(tmp_path)
    yield World(engine, monkeypatch)
    engine.dispose()


def host_hours(piece: Piece) -> float:
    return len(piece.hostnames) * (piece.end - piece.start) / HOUR


def test_many_hours_with_few_rows_are_one_transaction(world: World) -> None:
    done = world.run(Portion(10), hosts=3, hours=2160, cost=lambda piece: host_hours(piece) * 0.0005)
    # 2,160 hours of 1.5 ms.
    assert 30 <= len(done) <= 36
    assert sum(each.rows for each in done) == 2160 * 1000
    assert all(each.seconds <= STEP_SECONDS for each in done)
    assert done[-1].until == 2160 * HOUR


def test_an_hour_with_many_rows_is_many_transactions_and_one_host_may_be_divided(world: World) -> None:
    # 3 s for each host.
    done = world.run(Portion(0.1), hosts=5, hours=2, cost=lambda piece: host_hours(piece) * 3.0)
    assert {len(piece.hostnames) for piece in world.pieces} == {1}
    # The first ones show how expensive it is.
    assert all(each.seconds <= STEP_SECONDS for each in done[4:])
    # 30 s in all.
    assert 290 <= len(done) <= 600
    assert len(world.pieces) <= 2 * len(done)


def test_a_piece_narrows_when_the_rows_become_more_and_widens_when_they_become_fewer(world: World) -> None:
    def cost(piece: Piece) -> float:
        return host_hours(piece) * (0.02 if 50 <= piece.start // HOUR < 100 else 0.0001)

    world.run(Portion(10), hosts=100, hours=150, cost=cost)
    widths = {hour: 0 for hour in range(150)}
    for piece in world.pieces:
        widths[piece.start // HOUR] = max(widths[piece.start // HOUR], len(piece.hostnames))
    assert widths[49] == 100
    # The first piece of the hour before was too large.
    assert 1 <= widths[51] <= 5
    assert widths[110] == 100


def test_a_busy_machine_does_not_make_pieces_of_few_rows_smaller(world: World) -> None:
    world.rows = lambda _: 200
    done = world.run(Portion(0.1, few_rows=250), hosts=20, hours=100, cost=lambda _: 0.3)
    assert {len(piece.hostnames) for piece in world.pieces[-50:]} == {20}
    # But others write after each of them.
    assert len(done) == len(world.pieces)


def test_pieces_without_rows_do_not_make_the_first_one_with_rows_large(world: World) -> None:
    def full(piece: Piece) -> int:
        """The first hosts have no rows, and none has any in some hours."""
        hosts = [name for name in piece.hostnames if name >= "host-0600"]
        return 0 if 3 <= piece.start // HOUR < 7 else len(hosts) * (piece.end - piece.start) // HOUR * 1000

    world.rows = full
    done = world.run(Portion(0.05), hosts=1200, hours=10, cost=lambda piece: 0.0001 + full(piece) * 0.00001)
    assert sum(each.rows for each in done) == 600 * 6 * 1000
    # Eight hosts with rows take 0.08 s.
    assert all(each.seconds <= 2 * STEP_SECONDS for each in done)
    # 36 s of work with rows, and 0.1 ms for each piece without.
    assert len(done) < 1000


def test_few_merged_rows_can_take_long(world: World) -> None:
    world.rows = lambda _: 16
    done = world.run(Portion(0.05), hosts=50, hours=5, cost=lambda piece: host_hours(piece) * 0.04)
    assert sum(map(host_hours, world.pieces)) == 250
    assert sum(each.rows for each in done) == 16 * len(world.pieces)
    assert all(each.seconds <= 2 * STEP_SECONDS for each in done)


def test_every_host_and_every_minute_is_in_one_piece_whatever_it_costs(world: World) -> None:
    chance = random.Random(5)
    world.run(Portion(10), hosts=40, hours=20, cost=lambda _: 10 ** chance.uniform(-4, 1))
    covered = sorted(
        (hostname, piece.start, piece.end) for piece in world.pieces for hostname in piece.hostnames
    )
    before = ("", 0, 20 * HOUR)
    for hostname, start, end in covered:
        assert start == (before[2] if hostname == before[0] else 0)
        assert (hostname == before[0]) or before[2] == 20 * HOUR
        assert start < end
        assert (end - start) % MINUTE == 0
        before = hostname, start, end
    assert len({hostname for hostname, _, _ in covered}) == 40


def test_others_write_in_the_pauses(tmp_path: Path) -> None:
    """SQLite polls for its lock: another process must not be unlucky again and again."""
    file = tmp_path / "file.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (n)")
    stop = threading.Event()
    turns = 0
    missed = []

    def retain() -> None:
        nonlocal turns
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            while not stop.is_set():
                connection.execute("BEGIN IMMEDIATE")
                time.sleep(STEP_SECONDS)
                connection.execute("ROLLBACK")
                turns += 1
                time.sleep(Step(Action.DELETE, 0, 1, 0, STEP_SECONDS).pause)

    with ThreadPoolExecutor(1) as executor:
        retaining = executor.submit(retain)
        try:
            with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as connection:
                for _ in range(30):
                    before = turns
                    connection.execute("BEGIN IMMEDIATE")
                    missed.append(turns - before)
                    connection.execute("ROLLBACK")
                    time.sleep(random.uniform(0, 0.1))
        finally:
            stop.set()
        retaining.result()
    assert max(missed) < 10
