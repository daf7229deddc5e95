"""Faust's web server, with limits on its connections."""

from typing import Any

from faust.types import AppT
from faust.web.drivers.aiohttp import Web

from sparkle_app.web.connections import LimitedRunner


class LimitedWeb(Web):
    """Faust's own driver sets neither a timeout for requests nor a limit on connections."""

    def __init__(self, app: AppT, **options: Any) -> None:
        super().__init__(app, **options)
        self._runner = LimitedRunner(self.web_app)
