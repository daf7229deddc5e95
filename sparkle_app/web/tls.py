"""TLS of the web server: its certificate, which may be renewed while the worker runs, and requests to other workers."""

import asyncio
import logging
import ssl
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path

from sparkle_app.config.sections import WebTlsSettings
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.runtime.certificates import check_files, load_chain, trusting

CHECK_SECONDS = 30.0
WARNING = "web certificate"
"""The component in the warnings of /health/ready."""
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
    load_chain(context, "web.tls.key", tls.certificate, tls.key)
    return context


@cache
def client_context(authorities: Path) -> ssl.SSLContext:
    """The context of requests to other workers.

    Raises:
        ConfigurationError: if the file cannot be used.
    """
    return trusting("web.tls.authorities", authorities)


class Certificate:
    """Loads the certificate of the web server again when its files have been replaced.

    Arguments:
        context: of the web server: new connections use what is loaded into it.
        warnings: by component; gets one while the new files cannot be used.
    """

    def __init__(
        self, context: ssl.SSLContext, tls: WebTlsSettings, warnings: MutableMapping[str, str]
    ) -> None:
        self._context = context
        self._tls = tls
        self._warnings = warnings
        self._version = _version(tls)

    async def watch(self) -> None:
        """Look at the files from time to time."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.refresh()

    def refresh(self) -> None:
        """Load the files if they have changed."""
        version = _version(self._tls)
        if version == self._version:
            return
        self._version = version
        try:
            # First into another context: a key that does not match would remove the one in use.
            server_context(self._tls)
            assert self._tls.certificate
            assert self._tls.key
            load_chain(self._context, "web.tls.key", self._tls.certificate, self._tls.key)
        except ConfigurationError as error:
            self._warnings[WARNING] = str(error)
            logger.error("%s; connections get the earlier certificate", error)
            return
        self._warnings.pop(WARNING, None)
        logger.info("web.tls.certificate: loaded the new certificate from %s", self._tls.certificate)


def _version(tls: WebTlsSettings) -> _Version:
    return tuple(_stamp(path) for path in (tls.certificate, tls.key) if path)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_mtime_ns, found.st_size, found.st_ino
