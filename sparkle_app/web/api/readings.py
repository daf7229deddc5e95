"""The stored readings of one host, from SQL."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from sparkle_app.model.reading import StoredReading
from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import rfc3339
from sparkle_app.plugin.history import Position, load_page
from sparkle_app.plugin_api.numeric import stored_number
from sparkle_app.storage.retention import watermarks
from sparkle_app.transfer.layouts import Rows, layouts
from sparkle_app.web.api.history import (
    FROM,
    METRICS,
    TO,
    KeptRange,
    csv_body,
    header,
    is_impossible,
    kept_since,
    time_range,
)
from sparkle_app.web.api.parameters import DEFAULT_ENTRIES, LIMIT, cursor, cursor_of
from sparkle_app.web.api.responses import Time
from sparkle_app.web.api.route import HOST_PATH, CsvFile, Route
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


class ReadingsQuery(msgspec.Struct, frozen=True):
    """What is asked for."""

    plugin: str
    host: str
    start: int
    end: int
    limit: int
    after: Position | None
    """Event time and id of the previous page's last reading."""
    metrics: Collection[str] | None


class ReadingsPage(msgspec.Struct, frozen=True):
    """The readings of a page."""

    readings: list[StoredReading]
    next: str | None
    """The cursor of the next page."""
    kept_since: int
    """Readings are kept since this time, microseconds since the epoch."""


class ReadingsQueries:
    """Queries stored readings."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts

    def route(self) -> Route:
        """The pages of readings."""
        return Route(
            f"{HOST_PATH}/readings",
            "Stored readings of one host, from SQL",
            ReadingsResponse,
            self.page,
            (METRICS, FROM, TO, LIMIT, cursor("after", "The `next` value of the previous page.")),
            csv=self.csv,
        )

    async def page(self, plugin: str, host: str, **asked: Any) -> ReadingsResponse:
        """One page of the readings of one host.

        Raises:
            Problem: 400, when the time range is invalid; 503, when the database does not work at this moment.
        """
        query = self._query(plugin, host, **asked)
        page = await self._load(query)
        server_half = self._parts.plugins[plugin].plugin
        return ReadingsResponse(
            **header(self._parts, plugin, host, query.start, query.end),
            kept_since=kept_since(page.kept_since, query.start),
            readings=[_reading(each, stored_number(server_half, each)) for each in page.readings],
            next=page.next,
        )

    async def csv(self, plugin: str, host: str, **asked: Any) -> CsvFile:
        """The same as CSV, in the columns of an export of readings.

        Raises:
            Problem: as :meth:`page`.
        """
        query = self._query(plugin, host, **asked)
        page = await self._load(query)
        layout = layouts(plugin, self._parts.plugins[plugin].plugin)[Rows.READINGS]
        next_page = None
        if page.next:
            # The time range of the next page is that of this one, also if the present was its end.
            next_page = {"from": rfc3339(query.start), "to": rfc3339(query.end), "after": page.next}
        body = await csv_body(self._parts.slices, layout, page.readings)
        return CsvFile(f"{plugin}-{host}-readings.csv", body, next_page)

    def _query(
        self,
        plugin: str,
        host: str,
        metric: Collection[str] | None,
        limit: int | None,
        after: Position | None,
        **limits: int | None,
    ) -> ReadingsQuery:
        start, end = time_range(self._parts.clock, limits["from"], limits["to"])
        return ReadingsQuery(plugin, host, start, end, limit or DEFAULT_ENTRIES, after, metric)

    async def _load(self, query: ReadingsQuery) -> ReadingsPage:
        if is_impossible(query.host):
            return ReadingsPage([], None, 0)
        server_half = self._parts.plugins[query.plugin].plugin
        bucket_size = self._parts.settings.aggregates.bucket_seconds

        def load(connection: Connection) -> tuple[list[StoredReading], int]:
            since = watermarks(connection, query.plugin, bucket_size)[READINGS].kept_since
            scope = (query.host, query.start, query.end, query.limit + 1, query.after, query.metrics)
            return list(load_page(server_half, connection, *scope)), since

        found, since = await from_database(self._parts, load)
        page = found[: query.limit]
        following = cursor_of(page[-1].observed_at, page[-1].id) if len(found) > query.limit else None
        return ReadingsPage(page, following, since)


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
