"""The connections of the web server: how many there are, and how long a client may keep one waiting."""

import asyncio
import logging
import resource
import time
from typing import Any

from aiohttp import web

from sparkle_app.web.authentication import ACCESS
from sparkle_app.web.problems import http_problem

logger = logging.getLogger(__name__)

IDLE_SECONDS = 30.0
"""How long a connection may be without a request, or with half of its headers. Longer than the 15 s for which other
workers, and many clients, keep an idle connection: one that closes while a request is on its way loses it."""
HANDSHAKE_SECONDS = 5.0
"""How long a TLS handshake may take. Until then, a connection does not count as one of :data:`MAX_CONNECTIONS`."""
HANDSHAKES = 0.25
"""TLS handshakes at one time, as a part of the maximum number of connections. Beyond it, the oldest one is ended."""
MAX_BODY_BYTES = 65_536
"""Of a request. The longest are those between workers."""
RESPONSE_SECONDS = 120.0
"""How long a request may take, from its headers to the last byte that the client has taken of the response."""
SHUTDOWN_SECONDS = 3.0
"""How long responses may go on while the worker stops, and once more after they were cancelled: twice this is less than
the worker's own shutdown timeout."""
MAX_CONNECTIONS = 500
LOG_SECONDS = 60.0


def max_connections() -> int:
    """The limit: at most half of the open files that the process may have, since Kafka and the database need some."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 2)


class LimitedServer(web.Server):
    """Closes connections beyond a limit, first those that have been idle for the longest time.

    Arguments:
        app_handle: what returns the response to a request.
        limit: maximum number of connections.
    """

    def __init__(self, app_handle: Any, limit: int, **options: Any) -> None:
        super().__init__(self._respond, **options)
        self._app_handle = app_handle
        self._limit = limit
        self._open: dict[web.RequestHandler, asyncio.Transport] = {}
        # Those that may be closed, the one that has been so for the longest time first: without a whole request, or
        # with a response to an unauthorized request that the client has not taken yet.
        self._idle: dict[web.RequestHandler, None] = {}
        # Each is the task in which asyncio waits for the end of one, the one that began first in front.
        self._handshakes: dict[asyncio.Task[Any], None] = {}
        self._closed = 0
        self._log_at = 0.0

    def with_handshake(self) -> web.RequestHandler:
        """What handles a connection whose TLS handshake begins."""
        # Other event loops may call this elsewhere.
        if task := asyncio.current_task():
            if len(self._handshakes) >= self._limit * HANDSHAKES:
                self._log("web server: more than %d TLS handshakes; oldest ones ended", len(self._handshakes))
                oldest = next(iter(self._handshakes))
                del self._handshakes[oldest]
                # asyncio then closes the connection.
                oldest.cancel()
            self._handshakes[task] = None
            task.add_done_callback(lambda ended: self._handshakes.pop(ended, None))
        return self()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Called by a new connection."""
        super().connection_made(handler, transport)
        self._open[handler] = transport
        self._idle[handler] = None
        if len(self._open) > self._limit:
            self._close(next(iter(self._idle)))

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Called by a connection that has ended."""
        super().connection_lost(handler, exc)
        self._open.pop(handler, None)
        self._idle.pop(handler, None)

    def _close(self, handler: web.RequestHandler) -> None:
        transport = self._open.pop(handler)
        del self._idle[handler]
        self._closed += 1
        if self._log(
            "web server: more than %d connections; %d closed that were idle or took no response, the last one from %s",
            self._limit,
            self._closed,
            transport.get_extra_info("peername"),
        ):
            self._closed = 0
        transport.abort()

    def _log(self, text: str, *arguments: object) -> bool:
        """Log a warning unless there was one in the last :data:`LOG_SECONDS`; returns whether it was logged."""
        if time.monotonic() < self._log_at:
            return False
        self._log_at = time.monotonic() + LOG_SECONDS
        logger.warning(text, *arguments)
        return True

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        handler, working = request.protocol, True

        def received() -> None:
            if working:
                self._idle.pop(handler, None)

        def may_be_closed() -> None:
            nonlocal working
            working = False
            if handler in self._open:
                # The last one.
                self._idle.pop(handler, None)
                self._idle[handler] = None

        # Not before its body has arrived: whoever sends half of it, for which no token is needed, can be closed.
        request.content.on_eof(received)
        response: web.StreamResponse = web.Response(status=504)
        try:
            async with asyncio.timeout(RESPONSE_SECONDS):
                try:
                    response = await self._app_handle(request)
                except web.HTTPException as error:
                    # Of the header Expect, for which aiohttp calls no middleware.
                    response = http_problem(request, error)
                # Otherwise those who read no response, for which no token is needed, would keep all others away.
                if ACCESS not in request:
                    may_be_closed()
                # Here rather than in aiohttp, which waits without a limit for a client that does not read.
                await response.prepare(request)
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            # aiohttp finds the connection closed, and ends its task.
            if handler in self._open:
                self._open[handler].abort()
        finally:
            may_be_closed()
        return response


class LimitedRunner(web.AppRunner):
    """Serves an application with a :class:`LimitedServer`."""

    def __init__(self, app: web.Application) -> None:
        # Nobody compresses a request, and anybody could send what cannot be decompressed.
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            auto_decompress=False,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return LimitedServer(
            server.request_handler,
            max_connections(),
            request_factory=server.request_factory,
            # Otherwise what a client that has left asked for would take the place of what others wait for.
            handler_cancellation=True,
            **server._kwargs,
        )


class LimitedSite(web.TCPSite):
    """Limits the time and the number of TLS handshakes, for which aiohttp has no option."""

    async def start(self) -> None:
        """Listen."""
        await web.BaseSite.start(self)
        server = self._runner.server
        assert isinstance(server, LimitedServer)
        self._server = await asyncio.get_running_loop().create_server(
            server.with_handshake if self._ssl_context else server,
            self._host,
            self._port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self._ssl_context else None,
            backlog=self._backlog,
        )
