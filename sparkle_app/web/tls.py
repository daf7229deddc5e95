"""TLS of the web server: its certificate, which may be renewed while the worker runs, and requests to other workers."""

import asyncio
import logging
import ssl
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from sparkle_app.config.web import WebTlsSettings
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.runtime.certificates import check_files, expires_at, load_chain, trusting

CHECK_SECONDS = 30.0
EXPIRY_DAYS = 14
"""So many days before the certificate expires, there is a warning."""
WARNING = "web certificate"
"""The component in the warnings of /health/ready."""
_SETTINGS = "web.tls.certificate", "web.tls.key"
_Version = tuple[tuple[int, int, int], ...]

logger = logging.getLogger(__name__)


def server_context(tls: WebTlsSettings) -> ssl.SSLContext | None:
    """The context of the web server; None without a certificate.

    Raises:
        ConfigurationError: if a file of ``web.tls`` cannot be used.
    """
    if not (tls.certificate and tls.key):
        return None
    check_files("web.tls", tls.files)
    if tls.authorities:
        trusting("web.tls.authorities", tls.authorities)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_chain(context, _SETTINGS, tls.certificate, tls.key)
    return context


@cache
def client_context(authorities: Path) -> ssl.SSLContext:
    """The context of requests to other workers.

    Raises:
        ConfigurationError: if the file cannot be used.
    """
    return trusting("web.tls.authorities", authorities)


def expiry_warning(certificate: Path, now: datetime) -> str:
    """That a certificate expires soon, or has expired; empty if neither.

    Raises:
        ConfigurationError: if the file cannot be used.
    """
    return _expiry_warning(certificate, _end(certificate), now)


class Certificate:
    """Loads the certificate of the web server again when its files have been replaced.

    Arguments:
        context: of the web server: new connections use what is loaded into it.
        tls: with a certificate.
        warnings: by component; gets one while the new files cannot be used, or the certificate is about to expire.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        tls: WebTlsSettings,
        warnings: MutableMapping[str, str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        assert tls.certificate
        assert tls.key
        self._certificate, self._key = tls.certificate, tls.key
        self._context = context
        self._tls = tls
        self._warnings = warnings
        self._now = now
        self._version = _version(tls)
        self._end = _end(tls.certificate)
        self._error = ""

    async def watch(self) -> None:
        """Look at the files from time to time."""
        while True:
            self.refresh()
            await asyncio.sleep(CHECK_SECONDS)

    def refresh(self) -> None:
        """Load the files if they have changed, and update the warning."""
        version = _version(self._tls)
        if version != self._version:
            self._version = version
            self._load()
        warning = self._error or _expiry_warning(self._certificate, self._end, self._now())
        if not warning:
            self._warnings.pop(WARNING, None)
        elif warning != self._warnings.get(WARNING):
            self._warnings[WARNING] = warning
            logger.warning("web server: %s", warning)

    def _load(self) -> None:
        try:
            # First into another context: a key that does not match would remove the one in use.
            server_context(self._tls)
            self._end = _end(self._certificate)
            load_chain(self._context, _SETTINGS, self._certificate, self._key)
        except ConfigurationError as error:
            self._error = f"{error}; the earlier certificate remains in use"
        else:
            self._error = ""
            logger.info("web server: loaded the new certificate from %s", self._certificate)


def _end(certificate: Path) -> datetime:
    return expires_at(_SETTINGS[0], certificate)


def _expiry_warning(certificate: Path, end: datetime, now: datetime) -> str:
    if end - now > timedelta(days=EXPIRY_DAYS):
        return ""
    verb = "expires" if end > now else "expired"
    return f"{certificate} {verb} at {end:%Y-%m-%d %H:%M} UTC: replace it"


def _version(tls: WebTlsSettings) -> _Version:
    return tuple(_stamp(path) for path in (tls.certificate, tls.key) if path)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_mtime_ns, found.st_size, found.st_ino
