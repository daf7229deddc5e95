"""Faust's web server, with limits on its connections, and with TLS."""

import ssl
from typing import Any

from aiohttp.web import BaseSite
from faust.types import AppT
from faust.web.drivers.aiohttp import Web

from sparkle_app.web.connections import LimitedRunner, LimitedSite


class LimitedWeb(Web):
    """Faust's own driver sets neither a timeout for requests nor a limit on connections."""

    tls: ssl.SSLContext | None = None
    """Set before the server starts; None: plain HTTP."""
    # Faust's answers at /, where the page is.
    production_blueprints = ()

    def __init__(self, app: AppT, **options: Any) -> None:
        super().__init__(app, **options)
        self._runner = LimitedRunner(self.web_app)

    def _new_transport_tcp(self) -> BaseSite:
        return LimitedSite(self._runner, self.app.conf.web_bind, self.app.conf.web_port, ssl_context=self.tls)
