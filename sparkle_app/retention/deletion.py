"""The second part of a run: deletes rows that are not kept any longer."""

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection

from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.errors import TransientError
from sparkle_app.model.retention import DAY, HOUR, READINGS, Retention
from sparkle_app.model.time import rfc3339, span
from sparkle_app.retention.plugin_rows import PluginRows
from sparkle_app.retention.steps import Action, Piece, Pieces, Portion, Step, in_transactions, timed
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.expiry import delete_buckets, delete_readings, first_of_hosts

_FIRST_HOSTS = 0.1
"""Some minutes of a host: nobody knows yet how many rows these have."""
_FEW_ROWS = 250
"""Of a piece that does not show how long rows take."""
_LIMIT = 5000
"""Of rows that a plugin deletes at once."""
_MAX_EMPTY = 24
"""After so many parts of the time range without rows, the next row is searched."""


class Deletion:
    """Deletes expired rows of one plugin and resolution.

    Arguments:
        rows: what is deleted from.
        resolution: seconds; 0 for readings.
    """

    def __init__(self, rows: PluginRows, resolution: int) -> None:
        self._rows = rows
        self._resolution = resolution

    def run(self, retention: Retention, present: int) -> Iterator[Step]:
        """Delete what has expired.

        Arguments:
            present: microseconds since the epoch.

        Raises:
            TransientError: when the rows do not become fewer.
        """
        rows, resolution = self._rows, self._resolution
        marks = rows.marks()
        before = marks.expires_before(resolution, retention, present)
        if before > marks[resolution].kept_since:
            rows.advance(resolution, kept_since=before)
        before = rows.marks()[resolution].kept_since
        if marks[resolution].deleted_until >= before:
            return
        if not rows.is_default(resolution):
            yield from self._have_deleted(before)
        else:
            for each in (resolution, *rows.former_sizes(resolution)):
                yield from self._delete(each, before)
        rows.advance(resolution, deleted_until=before)

    def _have_deleted(self, before: int) -> Iterator[Step]:
        """By the plugin."""
        plugin = self._rows.plugin

        def delete() -> int:
            with self._rows.engine.begin() as connection:
                if self._resolution == READINGS:
                    return plugin.expire_readings(connection, before, _LIMIT)
                return plugin.expire_aggregates(connection, self._resolution, before, _LIMIT)

        while (step := timed(Action.DELETE, self._resolution, before, delete)).rows:
            yield step

    def _delete(self, resolution: int, before: int) -> Iterator[Step]:
        table, portion, earlier = self._rows.table(resolution), Portion(_FIRST_HOSTS, _FEW_ROWS), None

        def delete(connection: Connection, piece: Piece) -> int:
            if resolution == READINGS:
                return delete_readings(connection, table, *piece)
            return delete_buckets(connection, table, piece.hostnames, resolution, *piece[1:])

        while firsts := self._first_of_hosts(resolution, before):
            first = min(firsts.values())
            if first == earlier:
                raise TransientError(f"{self._rows.name}: rows at {rfc3339(first)} are not deleted")
            earlier = first
            pieces = _pieces(portion, firsts, resolution, before)
            yield from in_transactions(self._rows.engine, Action.DELETE, resolution, pieces, delete)

    def _first_of_hosts(self, resolution: int, before: int) -> dict[str, int]:
        with read_transaction(self._rows.engine) as connection:
            return first_of_hosts(connection, self._rows.table(resolution), resolution, before)


def _pieces(portion: Portion, firsts: Mapping[str, int], resolution: int, before: int) -> Pieces:
    """In the order of time: rows of the same time are near each other.

    Arguments:
        firsts: start of the first row of each host. What is before has been deleted.
    """
    width = span(max(HOUR, min(resolution * 60, 30 * DAY)))
    unit = span(max(resolution, 60))
    hosts = sorted(firsts)
    start, rows, empty = bucket_start(min(firsts.values()), HOUR), 0, 0
    while start < before and empty < _MAX_EMPTY:
        end = min(before, start + width)
        deleted = yield from portion.pieces([each for each in hosts if firsts[each] < end], start, end, unit)
        rows += deleted
        empty = 0 if deleted else empty + 1
        start = end
    return rows
