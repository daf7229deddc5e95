"""What a request may do."""

from typing import Literal

import msgspec

from sparkle_app.model.time import from_seconds, rfc3339
from sparkle_app.web.api.responses import Time
from sparkle_app.web.api.route import Route
from sparkle_app.web.authentication import Access, Proof
from sparkle_app.web.sessions import Role


class SessionResponse(msgspec.Struct):
    """What the request may do."""

    role: Literal["read", "operator"]
    """``operator``: read and write. Also of a request from this machine, if no token is configured."""
    session: bool
    """Whether a person has logged in with a browser; POST /logout ends the session."""
    expires_at: Time | None
    """When the session ends."""


async def _session(access: Access) -> SessionResponse:
    """What a request with this access may do."""
    until = None if access.until is None else rfc3339(from_seconds(access.until))
    role: Literal["read", "operator"] = "operator" if access.role is Role.OPERATOR else "read"
    return SessionResponse(role, access.proof is Proof.SESSION, until)


def session_route() -> Route:
    """What the request may do."""
    return Route("/api/v1/session", "What the request may do", SessionResponse, _session, knows_access=True)
