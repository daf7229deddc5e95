"""Copies everything that a database contains to another one.

Readings that are there already remain, so that a copy can be interrupted and repeated: it continues, and takes what was
stored meanwhile. Aggregates become those of the source, except those of hosts of which the target has more readings: of
these, an aggregate that has counted more remains.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Engine, Table

from sparkle_app.model.retention import READINGS, Watermarks
from sparkle_app.model.time import EARLIEST, LATEST
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.extents import select_resolutions
from sparkle_app.storage.models import own_columns
from sparkle_app.storage.readings import select_ids
from sparkle_app.storage.rows import (
    Values,
    all_rows,
    count_rows,
    existing,
    hosts_table,
    is_newer_host,
    package_tables,
    replace_rows,
    select_rows,
    write_rows,
)
from sparkle_app.transfer.importing import Importer
from sparkle_app.transfer.layouts import Layout, Rows, layouts
from sparkle_app.transfer.pages import AggregatePages, ReadingPages
from sparkle_app.transfer.watermarks import common_watermarks, copy_watermarks

_PAGE_ROWS = 2_000
_MAX_NAMED = 100
ROWS = "rows"


@dataclass(frozen=True)
class Part:
    """Rows of one kind."""

    name: str
    """NAME of the plugin, or the name of a table."""
    what: str
    """One of :class:`Rows`, or ROWS."""
    rows: int
    """How many there are at first."""
    pages: Iterable[Sequence[Any]]
    """Read from the source, page by page."""
    store: Callable[[Sequence[Any]], int]
    """Stores a page in the target; returns how many of its rows were not there, or have changed."""
    expired: Callable[[], int] = lambda: 0
    """How many rows were not stored until now, because the target does not keep them."""


class Copy:
    """A copy of everything.

    Arguments:
        plugins: the installed plugins, by NAME.
        source: the database to read; workers may write to it meanwhile.
        target: the database to write to, with all tables.
        bucket_size: that of the workers, seconds.
    """

    def __init__(
        self, plugins: Mapping[str, Plugin], source: Engine, target: Engine, bucket_size: int
    ) -> None:
        self._source, self._target = source, target
        self._bucket_size = bucket_size
        self._plugins = {name: plain for name, plugin in plugins.items() if (plain := _plain(plugin))}
        with read_transaction(source) as connection:
            # A plugin that was just installed has none.
            self._own = existing(
                connection, [each for plain in self._plugins.values() for each in _tables(plain)]
            )
            self._tables = existing(connection, [*package_tables(), hosts_table()])

    @property
    def verifiable(self) -> list[str]:
        """The NAMEs of the plugins that have both tables."""
        return [name for name, plain in self._plugins.items() if set(_tables(plain)) <= set(self._own)]

    @property
    def own_columns(self) -> list[str]:
        """Columns that plugins have added, with their table: how they are filled is known to the plugin only."""
        return [
            f"{_name(view)}.{column}"
            for plain in self._plugins.values()
            for view in _tables(plain)
            for column in own_columns(view)
        ]

    def parts(self) -> Iterator[Part]:
        """All parts. Of each plugin, aggregates before readings: none of them has counted a reading that is missing."""
        for name, plugin in self._with(lambda plain: plain.Aggregates.__table__):
            with read_transaction(self._source) as connection:
                resolutions = select_resolutions(connection, plugin.Aggregates.__table__)
            here, there = self._reading_counts(name, plugin)
            ahead = _ahead(here, there)
            for resolution in resolutions:
                found = AggregatePages(plugin, self._source, resolution, (), EARLIEST, LATEST)
                importer = self._importer(name, plugin)
                store = partial(self._store_aggregates, importer, ahead)
                yield Part(name, Rows.AGGREGATES, found.rows, found, store, _expired(importer))
        for name, plugin in self._with(lambda plain: plain.DataFrame.__table__):
            pages = ReadingPages(plugin, self._source, (), EARLIEST, LATEST)
            importer = self._importer(name, plugin)
            store = partial(self._store_readings, layouts(name, plugin)[Rows.READINGS], importer)
            yield Part(name, Rows.READINGS, pages.rows, pages, store, _expired(importer))
        for table in self._tables:
            number = self._count(self._source, table)
            if table.primary_key:
                yield Part(_name(table), ROWS, number, self._pages(table), partial(self._write, table))
            else:
                yield Part(_name(table), ROWS, number, self._whole(table), partial(self._replace, table))

    def missing(self) -> Iterator[tuple[str, str, int]]:
        """Name and kind of the parts of which the target has fewer rows than the source now has, and how many fewer."""
        for name, plugin in self._with(lambda plain: plain.DataFrame.__table__):
            here, there = self._reading_counts(name, plugin)
            number = sum(max(count - there.get(host, 0), 0) for host, count in here.items())
            number += self._unknown_readings(name, plugin, here.keys() & _ahead(here, there))
            if number:
                yield name, Rows.READINGS, number
        for table in self._tables:
            number = self._count(self._source, table) - self._count(self._target, table)
            if number > 0:
                yield _name(table), ROWS, number

    def ahead(self, name: str) -> Set[str]:
        """The hosts of which the target has more readings of a plugin: workers use it already."""
        return _ahead(*self._reading_counts(name, self._plugins[name]))

    def _unknown_readings(self, name: str, plugin: Plugin, hosts: Set[str]) -> int:
        """How many readings of these hosts, of those that both databases keep, the target does not have."""
        if not hosts:
            return 0
        number, since = 0, self._kept_since(name)
        # Each host that is named is a query.
        named = sorted(hosts) if len(hosts) < _MAX_NAMED else ()
        for page in ReadingPages(plugin, self._source, named, since, LATEST):
            ids = [reading.id for reading in page if reading.hostname in hosts]
            with read_transaction(self._target) as connection:
                number += len(ids) - len(select_ids(connection, plugin.DataFrame.__table__, ids))
        return number

    def _kept_since(self, name: str) -> int:
        return max(EARLIEST, self.watermarks(name)[READINGS].kept_since)

    def _with(self, table: Callable[[Plugin], Table]) -> list[tuple[str, Plugin]]:
        """The plugins that have a table."""
        return [(name, plain) for name, plain in self._plugins.items() if table(plain) in self._own]

    def copy_watermarks(self) -> None:
        """Have the target keep no more than the source does; what it does not keep itself stays deleted."""
        for name in self._plugins:
            copy_watermarks(self._source, self._target, name, self._bucket_size)

    def watermarks(self, name: str) -> Watermarks:
        """What both databases keep of a plugin, and have merged."""
        return common_watermarks(self._source, self._target, name, self._bucket_size)

    def _reading_counts(self, name: str, plugin: Plugin) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """The number of readings of each host that both databases keep: in the source, and in the target."""
        if plugin.DataFrame.__table__ not in self._own:
            return {}, {}
        since = self._kept_since(name)
        # The target first: the source may get more meanwhile.
        with read_transaction(self._target) as connection:
            there = dict(plugin.count_readings(connection, since, LATEST))
        with read_transaction(self._source) as connection:
            return dict(plugin.count_readings(connection, since, LATEST)), there

    @staticmethod
    def _store_aggregates(importer: Importer, ahead: Set[str], page: Sequence[Any]) -> int:
        # In the source, rebuild may have left aggregates that have counted fewer readings.
        stored = importer.replace_aggregates([row for row in page if row.hostname not in ahead])
        return stored + importer.insert(Rows.AGGREGATES, [row for row in page if row.hostname in ahead])

    def _importer(self, name: str, plugin: Plugin) -> Importer:
        return Importer(name, plugin, self._target, self._bucket_size)

    @staticmethod
    def _store_readings(layout: Layout, importer: Importer, page: Sequence[Any]) -> int:
        return importer.insert(Rows.READINGS, [layout.item_of(layout.row_of(each)) for each in page])

    def _pages(self, table: Table) -> Iterator[Sequence[Values]]:
        after: Values | None = None
        while True:
            with read_transaction(self._source) as connection:
                page = select_rows(connection, table, after, _PAGE_ROWS)
            if not page:
                return
            yield page
            after = page[-1]

    def _write(self, table: Table, page: Sequence[Values]) -> int:
        is_newer = is_newer_host if table is hosts_table() else _always
        with self._target.begin() as connection:
            return write_rows(connection, table, page, is_newer)

    def _whole(self, table: Table) -> Iterator[Sequence[Values]]:
        """All rows of a table without primary key, which cannot be read page by page, as one page."""
        with read_transaction(self._source) as connection:
            rows = all_rows(connection, table)
        yield rows

    def _replace(self, table: Table, page: Sequence[Values]) -> int:
        with self._target.begin() as connection:
            return replace_rows(connection, table, page)

    @staticmethod
    def _count(engine: Engine, table: Table) -> int:
        with read_transaction(engine) as connection:
            return count_rows(connection, table)


def _ahead(here: Mapping[str, int], there: Mapping[str, int]) -> Set[str]:
    return {host for host, count in there.items() if count > here.get(host, 0)}


def _expired(importer: Importer) -> Callable[[], int]:
    return lambda: importer.expired


def _plain(plugin: Plugin) -> Plugin | None:
    """The tables of a plugin without its own methods, which would store again what other tables have."""
    if not (hasattr(plugin, "DataFrame") and hasattr(plugin, "Aggregates")):
        return None
    plain = Plugin()
    plain.DataFrame, plain.Aggregates = plugin.DataFrame, plugin.Aggregates
    return plain


def _tables(plugin: Plugin) -> list[Table]:
    return [plugin.DataFrame.__table__, plugin.Aggregates.__table__]


def _name(table: Table) -> str:
    # SQLAlchemy has a type of its own, which the encoder of JSON does not know.
    return "".join(table.name)


def _always(_row: Values, _stored: Values) -> bool:
    return True
