"""The views of a worker: those that clients and other workers have asked for last."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from sparkle_app.web.partition_router import PartitionRouter
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import unavailable
from sparkle_app.web.snapshots.fleet import FleetView
from sparkle_app.web.snapshots.lines import Line, LinesPage, LinesQuery, View, local_lines, page_of
from sparkle_app.web.snapshots.local import LocalView

MAX_VIEWS = 16
"""Of each kind, besides one for each plugin, for the overview. With ten thousand hosts, one takes up to 10 MB."""
MAX_FIRST = 4
"""Views that make their first snapshots at one time."""
Kept = TypeVar("Kept")


class Views:
    """Makes views when they are needed, and forgets those for which nobody asks."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._router = PartitionRouter(parts)
        self._local: OrderedDict[View, LocalView[Line]] = OrderedDict()
        self._fleet: OrderedDict[View, FleetView] = OrderedDict()
        self._first = asyncio.Semaphore(MAX_FIRST)

    def fleet(self, view: View) -> FleetView:
        """The hosts of all workers."""
        found, evicted = self._kept(
            self._fleet,
            view,
            lambda: FleetView(self._parts, self._router, view, self._local_lines(view), self._first),
        )
        if evicted:
            evicted.stop()
        return found

    async def page(self, query: LinesQuery) -> LinesPage:
        """Lines of this worker's hosts, for another worker.

        Raises:
            Problem: as :meth:`LocalView.update`; also 503, if the lines of the first page are void meanwhile.
        """
        local = self._local_lines(query.view)
        if query.first:
            await local.update(query.start, query.end)
        elif query.epoch != local.epoch:
            # A further page would be of other lines, or of none: the view was dropped, or partitions were reassigned.
            raise unavailable("the lines have changed while they were read")
        return page_of(local, query)

    def _local_lines(self, view: View) -> LocalView[Line]:
        return self._kept(self._local, view, lambda: local_lines(self._parts, view))[0]

    def _kept(
        self, views: OrderedDict[View, Kept], view: View, make: Callable[[], Kept]
    ) -> tuple[Kept, Kept | None]:
        """A view, and the one that has been dropped for it."""
        found = views[view] if view in views else make()
        views[view] = found
        views.move_to_end(view)
        most = MAX_VIEWS + len(self._parts.plugins)
        evicted = views.popitem(last=False)[1] if len(views) > most else None
        return found, evicted
