"""What lists of hosts have in common: they are sorted, filtered and paged by the server, from snapshots."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sparkle_app.web.api.parameters import DEFAULT_ENTRIES, integer, text
from sparkle_app.web.snapshots.query_cache import QueryCache

SEARCH = text("search", "Only hosts whose name contains this text, case-insensitive.")
OFFSET = integer("offset", "Number of entries to skip (those of previous pages). Default: 0.", 999_999_999, 0)
AFTER = text("after", "Only hosts after this one: the `next` value of the previous page.")


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which hosts, and in which order."""

    sort: str | None = None
    """What to sort by, with ``-`` before it for the reverse order; None: hostname."""
    state: str | None = None
    """Only hosts in this state."""
    search: str | None = None
    """Only hosts whose name contains this text, case-insensitive."""
    limit: int = DEFAULT_ENTRIES
    offset: int = 0
    after: str | None = None
    """Only hosts after this one."""

    @classmethod
    def of(cls, query: Mapping[str, Any]) -> "ListQuery":
        """The query with these parameters; None: the default."""
        return cls(**{name: value for name, value in query.items() if value is not None})

    def page(self, hosts: list[str]) -> list[str]:
        """The page of these hosts."""
        return hosts[self.offset : self.offset + self.limit]


async def matching(
    query_cache: QueryCache, order: list[str], query: ListQuery, state: Callable[[str], str]
) -> list[str]:
    """The hosts of a list, without its pages.

    Arguments:
        order: all hosts, sorted.
        state: of a host.
    """
    part, after = (query.search or "").casefold(), query.after
    if not part and after is None and query.state is None:
        return order
    return await query_cache.filtered(
        order,
        lambda host: (
            (after is None or host > after)
            and (query.state is None or state(host) == query.state)
            and (not part or part in host.casefold())
        ),
    )
