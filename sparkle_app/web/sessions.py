"""Tokens of users, and the sessions of browsers: a cookie that every worker can verify, and none has to remember.

A cookie: version, role, end (seconds since the epoch) and HMAC-SHA-256, joined by dots. The HMAC's key is derived from
the token of the role (HKDF, RFC 5869), so a session ends when the token is changed.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sparkle_app.config.web import WebSettings

_VERSION = "1"
_COOKIE = re.compile(r"(1\.([a-z]{1,20})\.([0-9]{1,12}))\.([A-Za-z0-9_-]{43})", re.ASCII)


class Role(StrEnum):
    """What a request may do."""

    READ = "read"
    OPERATOR = "operator"
    """Read and write."""


class Tokens:
    """The tokens of users, and the cookies that stand for them; false if no token is set."""

    def __init__(self, settings: WebSettings) -> None:
        given = {Role.READ: settings.token, Role.OPERATOR: settings.operator_token}
        self._tokens = {
            role: token.get_secret_value().encode("utf-8", "surrogateescape")
            for role, token in given.items()
            if token and token.get_secret_value()
        }
        self._keys = {
            role: HKDF(SHA256(), length=32, salt=None, info=b"sparkle session").derive(token)
            for role, token in self._tokens.items()
        }
        self._seconds = settings.session_seconds

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def role(self, secret: bytes) -> Role | None:
        """The role of a token; None: it is none of the tokens."""
        # All are compared, so that the time does not tell which.
        equal = {role: hmac.compare_digest(secret, token) for role, token in self._tokens.items()}
        return next((role for role, matches in equal.items() if matches), None)

    def cookie(self, role: Role, now: float) -> str:
        """The value of the cookie of a new session."""
        content = f"{_VERSION}.{role}.{int(now) + self._seconds}"
        return f"{content}.{self._signature(role, content)}"

    def session(self, cookie: str, now: float) -> tuple[Role, int] | None:
        """The role and the end, in seconds since the epoch, of a session; None if the cookie is not valid."""
        parts = _COOKIE.fullmatch(cookie)
        if not parts or parts[2] not in self._keys:
            return None
        role, end = Role(parts[2]), int(parts[3])
        if not hmac.compare_digest(parts[4], self._signature(role, parts[1])):
            return None
        return (role, end) if now < end else None

    def _signature(self, role: Role, content: str) -> str:
        digest = hmac.digest(self._keys[role], content.encode("ascii"), "sha256")
        return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
