"""Limits the distinct metrics of a host in a bucket, before its readings are stored."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.reading import Reading
from sparkle_app.model.time import EARLIEST, LATEST, span
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.readings import select_ids, select_metrics

# A host is estimated to have at most this many metrics, or half of the limit, before the database is asked.
_FEW_METRICS = 256
_BITS = 1024
_MAX_HOSTS = 200_000
_MAX_BUCKETS = 256
_Bucket = tuple[str, str, int]
"""NAME of the plugin, hostname, and start of the bucket in microseconds since the epoch."""


class MetricLimit:
    """Finds the readings that would exceed the limit. Those that are stored already never do.

    The stored readings decide, so that a reading is judged in the same way when it is redelivered, to whatever worker.
    Several workers that store a host's readings at the same time may exceed the limit together, each by its own share.

    Arguments:
        plugins: the server halves of the installed plugins, by NAME.
        max_metrics: of a host, plugin and bucket.
        bucket_size: in seconds.
    """

    def __init__(self, plugins: Mapping[str, Plugin], max_metrics: int, bucket_size: int) -> None:
        self._plugins = plugins
        self._max_metrics = max_metrics
        self._bucket_size = bucket_size
        self._few = min(max_metrics // 2, _FEW_METRICS)
        # For each host a bitmap of the hashes of its metrics: the number of bits estimates that of the metrics.
        self._bitmaps: dict[tuple[str, str], int] = {}
        self._stored: OrderedDict[_Bucket, set[str]] = OrderedDict()

    def excess(self, connection: Connection, readings: Sequence[Reading]) -> list[Reading]:
        """The readings that must not be stored, because their host has too many metrics in their bucket.

        Arguments:
            connection: in the transaction that stores the others.
        """
        by_host: dict[tuple[str, str], list[Reading]] = {}
        for reading in readings:
            by_host.setdefault((reading.plugin, reading.hostname), []).append(reading)
        excess = []
        for host, of_host in by_host.items():
            if self._may_have_many(host, of_host):
                by_bucket: dict[int, list[Reading]] = {}
                for reading in of_host:
                    start = bucket_start(reading.observed_at, self._bucket_size)
                    by_bucket.setdefault(start, []).append(reading)
                for start, of_bucket in by_bucket.items():
                    excess += self._excess(connection, (*host, start), of_bucket)
        return excess

    def _may_have_many(self, host: tuple[str, str], readings: Iterable[Reading]) -> bool:
        bitmap = self._bitmaps.get(host, 0)
        for reading in readings:
            bitmap |= 1 << hash(reading.key) % _BITS
        if len(self._bitmaps) >= _MAX_HOSTS and host not in self._bitmaps:
            # Memory is bounded; the estimates start over.
            self._bitmaps.clear()
        self._bitmaps[host] = bitmap
        return bitmap.bit_count() > self._few

    def _excess(self, connection: Connection, bucket: _Bucket, readings: Sequence[Reading]) -> list[Reading]:
        name, hostname, start = bucket
        known = self._stored.get(bucket, set())
        if any(reading.key not in known for reading in readings):
            known = _metrics(
                self._plugins[name], connection, hostname, start, start + span(self._bucket_size)
            )
        over = []
        for reading in readings:
            if reading.key in known or len(known) < self._max_metrics:
                known.add(reading.key)
            else:
                over.append(reading)
        self._remember(bucket, known)
        # A duplicate may have another event time, and so belong to another bucket than the stored reading.
        ids = _stored_ids(self._plugins[name], connection, hostname, over) if over else set()
        return [reading for reading in over if reading.id not in ids]

    def _remember(self, bucket: _Bucket, metrics: set[str]) -> None:
        self._stored[bucket] = metrics
        self._stored.move_to_end(bucket)
        if len(self._stored) > _MAX_BUCKETS:
            self._stored.popitem(last=False)


def _metrics(plugin: Plugin, connection: Connection, hostname: str, start: int, end: int) -> set[str]:
    if type(plugin).load_readings is Plugin.load_readings:
        return select_metrics(connection, plugin.DataFrame.__table__, hostname, start, end)
    return {reading.key for reading in plugin.load_readings(connection, [hostname], start, end)}


def _stored_ids(
    plugin: Plugin, connection: Connection, hostname: str, readings: Sequence[Reading]
) -> set[bytes]:
    ids = [reading.id for reading in readings]
    if type(plugin).load_readings is Plugin.load_readings:
        return select_ids(connection, plugin.DataFrame.__table__, ids)
    wanted = set(ids)
    stored = plugin.load_readings(connection, [hostname], EARLIEST, LATEST)
    return {reading.id for reading in stored if reading.id in wanted}
