"""Connections of PyMySQL whose calls have deadlines."""

import inspect
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pymysql.connections import Connection
from pymysql.constants import CR
from pymysql.err import OperationalError

from sparkle_app.config.url_parameters import refuse_unknown, refused_parameter
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.storage.deadlines import PING_SECONDS

# A server that vanished is noticed within 30 s, even by a command, whose statements have no limit.
_PROBES = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}

logger = logging.getLogger(__name__)


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for parameters of the URL that PyMySQL would refuse at each attempt to connect."""
    known = inspect.signature(Connection.__init__).parameters
    refuse_unknown("PyMySQL", "ssl_ca", arguments, known)
    files = _files(arguments)
    for name in ("ca", "capath", "cert", "key"):
        if name in files and not os.path.exists(files[name]):
            raise ConfigurationError(
                "database.url",
                expected=f"the file of ssl_{name} to exist",
                found=f"no {files[name]}",
                hint="correct the path",
            )
    if _refused(arguments):
        raise refused_parameter("PyMySQL", arguments, _refused)


def _files(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    ssl = arguments.get("ssl")
    return ssl if isinstance(ssl, dict) else {}


def _refused(arguments: Mapping[str, Any]) -> bool:
    try:
        Connection(**{**arguments, "defer_connect": True})
    except (AttributeError, OSError, OverflowError, TypeError, ValueError):
        return True
    return False


class TimedConnection(Connection):  # type: ignore[misc]
    """A connection that is closed if the server does not answer a call in time."""

    max_packet: int = 1024 * 1024
    """Maximum length of a statement that the server accepts, in bytes."""

    def __init__(self, **arguments: Any) -> None:
        timeouts = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), PING_SECONDS)
        super().__init__(**{**arguments, **timeouts})

    def connect(self, sock: Any = None) -> None:
        """Connect, and ask for ``max_packet``."""
        with self._in_time():
            super().connect(sock)
            if not self.unix_socket:
                for name, value in _PROBES.items():
                    # Not every system has all of them.
                    if option := getattr(socket, name, None):
                        self._sock.setsockopt(socket.IPPROTO_TCP, option, value)
            with self.cursor() as cursor:
                cursor.execute("SELECT @@max_allowed_packet")
                ((self.max_packet,),) = cursor.fetchall()

    @property
    def seconds(self) -> float | None:
        """Time limit of a call; None: none. PING_SECONDS as long as the connection is in the pool."""
        limit: float | None = self._read_timeout
        return limit

    @seconds.setter
    def seconds(self, value: float | None) -> None:
        self._read_timeout = self._write_timeout = value

    def escape(self, obj: Any, mapping: Any = None) -> str:
        """The value as it is written in a statement.

        Raises:
            TypeError: for a list: PyMySQL would write (1), which is a number.
        """
        if isinstance(obj, list | tuple | set | frozenset):
            raise TypeError(f"{type(obj).__name__} can not be used as parameter")
        return str(super().escape(obj, mapping))

    def ping(self, reconnect: bool = False) -> None:
        """Find out whether the server answers."""
        with self._in_time("ping"):
            super().ping()

    def query(self, sql: Any, unbuffered: bool = False) -> Any:
        """Execute a statement."""
        with self._in_time():
            return super().query(sql, unbuffered)

    def commit(self) -> None:
        """Commit the transaction."""
        with self._in_time():
            super().commit()

    def rollback(self) -> None:
        """Roll the transaction back."""
        limit, self.seconds = self.seconds, PING_SECONDS
        try:
            with self._in_time("rollback"):
                super().rollback()
        finally:
            self.seconds = limit

    @contextmanager
    def _in_time(self, logged_name: str | None = None) -> Iterator[None]:
        """Name the server in the error of a call that takes too long.

        Arguments:
            logged_name: of a call whose error SQLAlchemy catches.
        """
        try:
            yield
        except OperationalError as error:
            if not isinstance(error.__context__, TimeoutError):
                raise
            server = f"{self.host}:{self.port}"
            if logged_name:
                logger.warning(
                    "the database at %s did not respond to a %s within %g s: reconnecting",
                    server,
                    logged_name,
                    self.seconds,
                )
            message = f"{server} has not answered for {self.seconds:g} s"
            raise OperationalError(CR.CR_SERVER_LOST, message) from error
