"""Limits the distinct metrics of a host in a bucket, before its readings are stored."""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlalchemy import Connection

from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.reading import Reading
from sparkle_app.model.time import span
from sparkle_app.plugin.default_tables import has_default_readings
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.names import hosts_with_more_series
from sparkle_app.storage.readings import select_ids, select_metrics

# A host has at most this many metrics, or half of the limit, and as many again are estimated to be added in a bucket,
# before they are compared.
_FEW_METRICS = 256
_BITS = 1024
_MAX_ESTIMATES = 50_000
_MAX_NAMES = 100_000
# Event times of the same record differ by a UTC offset at most, unless the host's clock was wrong.
_DAY = span(86_400)
_Bucket = tuple[str, int]
"""NAME of the plugin, and start of the bucket in microseconds since the epoch."""


class MetricLimit:
    """Finds the readings that would exceed the limit. Those that are stored already never do.

    The stored readings decide: they are asked about each host and bucket once, and again after :meth:`forget`. So a
    reading is judged in the same way when it is redelivered, to whatever worker. Several workers that store a host's
    readings at the same time may exceed the limit together, each by its own share.

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
        # By hostname, a bitmap of the hashes of its metrics: the number of bits estimates that of the metrics.
        self._estimates: OrderedDict[_Bucket, dict[str, int]] = OrderedDict()
        self._names: OrderedDict[tuple[_Bucket, str], set[str]] = OrderedDict()
        self._outdated = False

    def forget(self) -> None:
        """Ask the database again: after a rebalance, or when a transaction was rolled back.

        It takes effect with the next batch: the present one may be in :meth:`excess`, in another thread.
        """
        self._outdated = True

    def excess(self, connection: Connection, readings: Sequence[Reading]) -> list[Reading]:
        """The readings that must not be stored, because their host has too many metrics in their bucket.

        Arguments:
            connection: in the transaction that stores the others.
        """
        if self._outdated:
            self._outdated = False
            self._estimates.clear()
            self._names.clear()
        by_bucket: dict[_Bucket, dict[str, list[Reading]]] = {}
        for reading in readings:
            bucket = reading.plugin, bucket_start(reading.observed_at, self._bucket_size)
            by_bucket.setdefault(bucket, {}).setdefault(reading.hostname, []).append(reading)
        self._ask(connection, by_bucket)
        excess = []
        for bucket, by_host in by_bucket.items():
            estimates = self._estimates[bucket]
            for hostname, of_host in by_host.items():
                for reading in of_host:
                    estimates[hostname] |= _bit(reading.key)
                if estimates[hostname].bit_count() > self._few:
                    excess += self._excess(connection, bucket, hostname, of_host)
        self._bound_memory()
        return excess

    def _ask(self, connection: Connection, hosts: Mapping[_Bucket, Collection[str]]) -> None:
        """Begin the estimates of hosts and buckets that are not known, with the stored metrics."""
        unknown: dict[str, dict[int, list[str]]] = {}
        for bucket, hostnames in hosts.items():
            estimates = self._estimates.setdefault(bucket, {})
            if new := [hostname for hostname in hostnames if hostname not in estimates]:
                estimates.update(dict.fromkeys(new, 0))
                unknown.setdefault(bucket[0], {})[bucket[1]] = new
        for name, by_start in unknown.items():
            possible = self._possible(connection, name, by_start)
            for hostname, at, metric in self._metrics(connection, name, possible):
                self._estimates[name, bucket_start(at, self._bucket_size)][hostname] |= _bit(metric)

    def _possible(
        self, connection: Connection, name: str, hostnames: Mapping[int, Collection[str]]
    ) -> Mapping[int, Collection[str]]:
        """The hosts whose stored metrics, together with few others, can exceed the limit. Nearly all hosts cannot."""
        if not has_default_readings(self._plugins[name]):
            return hostnames
        many = hosts_with_more_series(connection, set().union(*hostnames.values()), self._few)
        return {start: found for start, names in hostnames.items() if (found := many.intersection(names))}

    def _excess(
        self, connection: Connection, bucket: _Bucket, hostname: str, readings: Sequence[Reading]
    ) -> list[Reading]:
        name, start = bucket
        known = self._names.get((bucket, hostname), set())
        if any(reading.key not in known for reading in readings):
            known = {metric for *_, metric in self._metrics(connection, name, {start: [hostname]})}
        over = []
        for reading in readings:
            if reading.key in known or len(known) < self._max_metrics:
                known.add(reading.key)
            else:
                over.append(reading)
        self._names[bucket, hostname] = known
        self._names.move_to_end((bucket, hostname))
        # A duplicate may have another event time, and so belong to another bucket than the stored reading.
        ids = _stored_ids(self._plugins[name], connection, hostname, over) if over else set()
        return [reading for reading in over if reading.id not in ids]

    def _metrics(
        self, connection: Connection, name: str, hostnames: Mapping[int, Collection[str]]
    ) -> Iterator[tuple[str, int, str]]:
        """Hostname, event time and name of the stored metrics in buckets, of which the starts are given."""
        plugin = self._plugins[name]
        if has_default_readings(plugin):
            yield from select_metrics(connection, plugin.DataFrame.__table__, hostnames, self._bucket_size)
            return
        for start, names in hostnames.items():
            for reading in plugin.load_readings(
                connection, list(names), start, start + span(self._bucket_size)
            ):
                yield reading.hostname, reading.observed_at, reading.key

    def _bound_memory(self) -> None:
        while sum(map(len, self._estimates.values())) > _MAX_ESTIMATES and len(self._estimates) > 1:
            self._estimates.popitem(last=False)
        while sum(map(len, self._names.values())) > _MAX_NAMES and len(self._names) > 1:
            self._names.popitem(last=False)


def _bit(metric: str) -> int:
    return 1 << hash(metric) % _BITS


def _stored_ids(
    plugin: Plugin, connection: Connection, hostname: str, readings: Sequence[Reading]
) -> set[bytes]:
    wanted = {reading.id for reading in readings}
    if has_default_readings(plugin):
        return select_ids(connection, plugin.DataFrame.__table__, list(wanted))
    times = [reading.observed_at for reading in readings]
    stored = plugin.load_readings(connection, [hostname], min(times) - _DAY, max(times) + _DAY)
    return {reading.id for reading in stored if reading.id in wanted}
