"""Time limits of connections to brokers.

A NAT or a load balancer may forget a connection without closing it, and a broker that hangs closes none. aiokafka waits
for every answer for as long as its client's timeout says, which Faust sets to 90 s and 20 minutes, and does not probe
idle connections.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable
from typing import Any

from aiokafka import client
from aiokafka.conn import AIOKafkaConnection, CloseReason, log
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest
from aiokafka.protocol.metadata import MetadataRequest

CONNECT_SECONDS = 5
"""How long a broker may take to accept a connection, including TLS and SASL."""
REQUEST_SECONDS = 10
"""How long a broker may take to answer a request."""
RECONNECT_SECONDS = 5
"""How long no client connects again to an address that has not accepted a connection in time.

A client of aiokafka asks any broker for metadata, or for the coordinator, and opens one connection at a time. While it
waited for the broker that hangs, it would not learn that another one has become the leader.
"""
_PROMPT_SECONDS = 5
_IDLE_MS = 30_000
# A broker answers them without waiting for other brokers or for data. A coordinator that hangs has to be replaced
# within the session timeout.
_PROMPT = (FindCoordinatorRequest, HeartbeatRequest, MetadataRequest)
# The coordinator answers them when all members have joined; so the client's own timeout applies.
_WAITING_FOR_MEMBERS = (JoinGroupRequest, SyncGroupRequest)
# Probes keep the entry of a NAT, and find a lost connection within 30 s while JoinGroup waits. Not all systems have
# all options.
_SOCKET_OPTIONS = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}
# By address: when the last request was sent that the broker has not answered in time, in monotonic seconds.
_unanswered: dict[tuple[str, int], float] = {}
# By address: until when no client connects to it, in monotonic seconds.
_avoided: dict[tuple[str, int], float] = {}


class TimedConnection(AIOKafkaConnection):  # type: ignore[misc]
    """A connection that is closed, and renewed by its client, if the broker does not answer in time."""

    def __init__(self, *args: Any, request_timeout_ms: int, max_idle_ms: int | None, **settings: Any) -> None:
        super().__init__(
            *args,
            request_timeout_ms=request_timeout_ms,
            max_idle_ms=min(max_idle_ms or _IDLE_MS, _IDLE_MS),
            **settings,
        )
        self._client_timeout = request_timeout_ms / 1000

    async def connect(self) -> Any:
        """Connect, and log in.

        Raises:
            TimeoutError: if the broker does not answer in time, or has not done so RECONNECT_SECONDS ago.
        """
        address = self.host, self.port
        silent = TimeoutError(f"{self.host}:{self.port} has not answered within {CONNECT_SECONDS} s")
        if time.monotonic() < _avoided.get(address, 0.0):
            raise silent
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                streams = await super().connect()
        except TimeoutError:
            _avoided[address] = time.monotonic() + RECONNECT_SECONDS
            raise silent from None
        self._keep_alive()
        return streams

    def connected(self) -> bool:
        """Called by the client before each request: otherwise it connects again.

        Where one connection was lost, the others may be lost as well: those that have not been heard from since. One
        with requests that wait for an answer has their time limits.
        """
        if not self._requests and self._last_action < _unanswered.get((self.host, self.port), 0.0):
            self.close(reason=CloseReason.CONNECTION_TIMEOUT)
        return bool(super().connected())

    def send(self, request: Any, expect_response: bool = True) -> Awaitable[Any]:
        """Send a request; returns what waits for the response."""
        self._request_timeout = self._limit(request)
        response: Awaitable[Any] = super().send(request, expect_response)
        return self._in_time(response, request, self._request_timeout) if expect_response else response

    def _limit(self, request: Any) -> float:
        if isinstance(request, _WAITING_FOR_MEMBERS):
            return self._client_timeout
        return min(self._client_timeout, _PROMPT_SECONDS if isinstance(request, _PROMPT) else REQUEST_SECONDS)

    async def _in_time(self, response: Awaitable[Any], request: Any, seconds: float) -> Any:
        sent = time.monotonic()
        try:
            return await response
        except TimeoutError:
            if self._reader is None:
                # The client may have another connection by now, which it would close after a TimeoutError.
                raise KafkaConnectionError(f"Connection at {self.host}:{self.port} closed") from None
            name = type(request).__name__.strip("_").removesuffix("Request")
            _unanswered[self.host, self.port] = sent
            # Not as arguments: each broker and request is a message of its own for the filter of repetitions.
            log.warning(
                f"the broker at {self.host}:{self.port} did not respond to {name} within {seconds:g} s: reconnecting"
            )
            self.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise

    def _keep_alive(self) -> None:
        connected = self._writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _SOCKET_OPTIONS.items():
            if option := getattr(socket, name, None):
                connected.setsockopt(socket.IPPROTO_TCP, option, value)


async def create_conn(
    host: str, port: int, *, request_timeout_ms: int = 40_000, max_idle_ms: int | None = None, **settings: Any
) -> TimedConnection:
    """As aiokafka's function: a connection to a broker.

    Raises:
        KafkaError, OSError: if it cannot be established.
    """
    connection = TimedConnection(
        host, port, request_timeout_ms=request_timeout_ms, max_idle_ms=max_idle_ms, **settings
    )
    await connection.connect()
    return connection


def limit_clients() -> None:
    """Let all clients of aiokafka in this process use timed connections: they have no parameter for this."""
    client.create_conn = create_conn
