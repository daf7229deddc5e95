"""The stored readings of one host, from SQL."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from sparkle_app.model.reading import StoredReading
from sparkle_app.model.retention import READINGS as STORED_READINGS
from sparkle_app.model.time import rfc3339
from sparkle_app.plugin.history import Position, load_page
from sparkle_app.storage.retention import watermarks
from sparkle_app.transfer.layouts import READINGS, layouts
from sparkle_app.web.api.history import (
    CsvFile,
    KeptRange,
    csv_body,
    header,
    is_impossible,
    kept_since,
    time_range,
)
from sparkle_app.web.api.parameters import cursor_of
from sparkle_app.web.api.responses import Time
from sparkle_app.web.parts import WebParts
from sparkle_app.web.queries import from_database


class ReadingInfo(msgspec.Struct):
    """One stored reading."""

    metric: str
    value: Any
    """The value as stored: a number, or another JSON value if the plugin stores other values."""
    numeric_value: float | None
    """The number that is aggregated; null if the plugin does not aggregate this reading."""
    observed_at: Time
    received_at: Time
    clock_trusted: bool
    """false: the host's clock was wrong, and `observed_at` is `received_at`."""
    id: str
    """First 16 bytes of the SHA-256 hash of the encrypted payload."""
    config_id: int
    topic: str
    """Where the record was received, with `partition` and `offset`."""
    partition: int
    offset: int


class ReadingsResponse(KeptRange, kw_only=True):
    """Stored readings of one host, in the order of event time."""

    readings: list[ReadingInfo]
    next: str | None
    """The value of `after` for the next page; null on the last page."""


class ReadingsQueries:
    """Queries stored readings."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts

    async def readings(
        self,
        plugin: str,
        host: str,
        start: int | None,
        end: int | None,
        limit: int,
        after: Position | None,
        metric: Collection[str] | None,
    ) -> ReadingsResponse:
        """One page of the readings of one host.

        Arguments:
            after: event time and id of the previous page's last reading.

        Raises:
            Problem: 400, when the time range is invalid; 503, when the database does not work at this moment.
        """
        start, end = time_range(self._parts.clock, start, end)
        page, following, since = await self._load_page(plugin, host, start, end, limit, after, metric)
        numeric_value = self._parts.plugins[plugin].plugin.numeric_value
        return ReadingsResponse(
            **header(self._parts, plugin, host, start, end),
            kept_since=kept_since(since, start),
            readings=[_reading(each, numeric_value(each)) for each in page],
            next=following,
        )

    async def readings_csv(
        self,
        plugin: str,
        host: str,
        start: int | None,
        end: int | None,
        limit: int,
        after: Position | None,
        metric: Collection[str] | None,
    ) -> CsvFile:
        """The same as CSV, in the columns of an export of readings.

        Raises:
            Problem: as :meth:`readings`.
        """
        start, end = time_range(self._parts.clock, start, end)
        page, following, _ = await self._load_page(plugin, host, start, end, limit, after, metric)
        layout = layouts(plugin, self._parts.plugins[plugin].plugin)[READINGS]
        # The time range of the next page is that of this one, also if the present was its end.
        next_page = {"from": rfc3339(start), "to": rfc3339(end), "after": following} if following else None
        return CsvFile(
            f"{plugin}-{host}-readings.csv", await csv_body(self._parts.slices, layout, page), next_page
        )

    async def _load_page(
        self,
        plugin: str,
        host: str,
        start: int,
        end: int,
        limit: int,
        after: Position | None,
        metric: Collection[str] | None,
    ) -> tuple[list[StoredReading], str | None, int]:
        """The readings of a page, the cursor of the next one, and since when readings are kept."""
        server_half = self._parts.plugins[plugin].plugin
        bucket_size = self._parts.settings.aggregates.bucket_seconds
        if is_impossible(host):
            return [], None, 0

        def load(connection: Connection) -> tuple[list[StoredReading], int]:
            since = watermarks(connection, plugin, bucket_size)[STORED_READINGS].kept_since
            page = load_page(server_half, connection, host, start, end, limit + 1, after, metric)
            return list(page), since

        found, since = await from_database(self._parts, load)
        page = found[:limit]
        following = cursor_of(page[-1].observed_at, page[-1].id) if len(found) > limit else None
        return page, following, since


def _reading(stored: StoredReading, numeric_value: float | None) -> ReadingInfo:
    """A stored reading, and the number that is aggregated."""
    return ReadingInfo(
        stored.key,
        stored.value,
        numeric_value,
        rfc3339(stored.observed_at),
        rfc3339(stored.received_at),
        stored.clock_trusted,
        str(UUID(bytes=stored.id)),
        stored.config_id,
        stored.topic,
        stored.partition,
        stored.offset,
    )
