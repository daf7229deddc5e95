"""A route: what both the router and the OpenAPI document have to know of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sparkle_app.web.api.parameters import Parameter
from sparkle_app.web.authentication import PUBLIC
from sparkle_app.web.conditional import Tagged

PLUGIN_PATH = "/api/v1/plugins/{plugin}"
HOST_PATH = f"{PLUGIN_PATH}/hosts/{{host}}"


class CsvFile(msgspec.Struct, frozen=True):
    """A response as CSV."""

    name: str
    """For those who save it; may contain any character."""
    body: bytes
    next_page: dict[str, str] | None = None
    """The parameters of the next page, if there is one."""


@dataclass(frozen=True)
class Route:
    """An endpoint: path, parameters, handler and response."""

    path: str
    """May contain {plugin}, {host} and {key}."""
    summary: str
    response: Any
    """Type of the response body."""
    handle: Callable[..., Awaitable[msgspec.Struct | Tagged]]
    """Called with path and query parameters by name; None for a query parameter that is absent."""
    parameters: tuple[Parameter, ...] = ()
    status: Callable[[Any], int] = lambda _response: 200
    statuses: tuple[int, ...] = (200,)
    """All statuses whose body has the response type."""
    csv: Callable[..., Awaitable[CsvFile]] | None = None
    """The response as CSV, called as ``handle``; None: there is only JSON."""
    tagged: bool = False
    """Whether the response has an entity tag."""
    public_part: Callable[[Any], msgspec.Struct] = lambda response: response
    """What an unauthorized request gets of the response, if the path is public."""
    writes: bool = False
    """Whether it changes something: the method is POST instead of GET, and the role of an operator is required."""
    knows_access: bool = False
    """Whether ``handle`` also gets the argument ``access``: what the request may do."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """Further statuses of errors, with descriptions."""

    @property
    def method(self) -> str:
        """The HTTP method, in lower case."""
        return "post" if self.writes else "get"

    @property
    def public(self) -> bool:
        """Whether requests need no token."""
        return self.path in PUBLIC
