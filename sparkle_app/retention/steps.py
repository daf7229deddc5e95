"""Steps of a run of retention: transactions that others hardly notice.

In SQLite, nobody else writes while a transaction does. So a transaction holds as many pieces of work as fit into a
tenth of a second, each piece takes half of that at most, and whoever runs the steps pauses after each of them.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, Engine

STEP_SECONDS = 0.1
"""How long a transaction should take."""
_PIECE_SECONDS = STEP_SECONDS / 2
# While a writer waits for an SQLite file that another process has locked, it tries again every 0.1 s at most. A longer
# pause lets it through, whenever it began to wait.
_MIN_PAUSE = 0.12
_MAX_HOSTS = 1000
_MAX_EMPTY_HOSTS = 8
"""Pieces without rows say nothing about how long rows take, so they become larger up to this only."""
# How much one piece can differ from the one before.
_GROWTH, _SHRINKAGE = 2.0, 0.02


class Action(StrEnum):
    """What a step does."""

    MERGE = "merge"
    DELETE = "delete"
    VACUUM = "vacuum"


class Step(msgspec.Struct, frozen=True):
    """A transaction that has been committed."""

    action: Action
    resolution: int
    """Seconds; 0 for readings."""
    rows: int
    until: int
    """Rows before this time are being merged or deleted."""
    seconds: float
    """How long it took, without waiting for others to begin."""

    @property
    def pause(self) -> float:
        """How many seconds to wait before the next step, so that others write: at least half of the time is theirs."""
        return max(self.seconds, _MIN_PAUSE)


class Piece(NamedTuple):
    """What one statement, or a few, merge or delete."""

    hostnames: Sequence[str]
    start: int
    end: int
    """Microseconds since the epoch, as ``start``."""


class Done(NamedTuple):
    """A piece that has been worked on."""

    rows: int
    seconds: float


Pieces = Generator[Piece, Done, int]
"""Is sent the result of each piece, and returns the number of rows of all."""


class Portion:
    """How much a piece contains, adapted to the time that the last ones took.

    Arguments:
        hosts: of the first piece.
        few_rows: fewer take some milliseconds. If a piece took longer, then for another reason, such as a busy machine;
            several smaller ones would take longer still.
    """

    def __init__(self, hosts: float, few_rows: int = 0) -> None:
        self._hosts = hosts
        self._few_rows = few_rows

    def pieces(self, hostnames: Sequence[str], start: int, end: int, unit: int) -> Pieces:
        """Divide hosts, and the time range of a host if it alone would take too long.

        Arguments:
            unit: a piece contains at least so much of the time range, microseconds.
        """
        rows, place = 0, 0
        while place < len(hostnames):
            some = hostnames[place : place + max(1, int(self._hosts))]
            at = start
            while at < end:
                whole = len(some) > 1 or self._hosts >= 1
                length = end - start if whole else int((end - start) * self._hosts) // unit * unit
                to = min(end, at + max(length, unit))
                done = yield Piece(some, at, to)
                rows += done.rows
                self._adapt(len(some) * (to - at) / (end - start), done)
                at = to
            place += len(some)
        return rows

    def _adapt(self, hosts: float, done: Done) -> None:
        factor = max(_SHRINKAGE, min(_PIECE_SECONDS / max(done.seconds, 1e-6), _GROWTH))
        if not done.rows:
            # The next one may be full.
            factor = min(factor, max(1.0, _MAX_EMPTY_HOSTS / hosts))
        elif done.rows < self._few_rows:
            factor = _GROWTH
        # Few hosts at the end of the list say nothing against many.
        fits = hosts * factor if factor < 1 else max(hosts * factor, self._hosts)
        self._hosts = min(fits, _MAX_HOSTS)


def in_transactions(
    engine: Engine,
    action: Action,
    resolution: int,
    pieces: Pieces,
    work: Callable[[Connection, Piece], int],
) -> Iterator[Step]:
    """Work on pieces, in order, with as many in a transaction as fit into STEP_SECONDS.

    When a piece is generated, those before have been worked on; when a step is returned, they are committed.

    Arguments:
        work: returns the number of rows.

    Raises:
        SQLAlchemyError: when the database does not work at this moment.
    """
    piece, committing = next(pieces, None), 0.0
    while piece is not None:
        number, until = 0, piece.end
        with engine.begin() as connection:
            began = before = time.monotonic()
            is_full = False
            while piece is not None and not is_full:
                rows, until = work(connection, piece), piece.end
                number += rows
                now = time.monotonic()
                piece = _following(pieces, Done(rows, now - before))
                # The next one takes about as long as this one, and the end as long as last time.
                is_full, before = now - began + now - before + committing > STEP_SECONDS, now
        now = time.monotonic()
        committing = now - before
        yield Step(action, resolution, number, until, now - began)


def timed(action: Action, resolution: int, until: int, work: Callable[[], int]) -> Step:
    """A step that is a single call, which returns the number of its rows."""
    began = time.monotonic()
    rows = work()
    return Step(action, resolution, rows, until, time.monotonic() - began)


def _following(pieces: Pieces, done: Done) -> Piece | None:
    try:
        return pieces.send(done)
    except StopIteration:
        return None
