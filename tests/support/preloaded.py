"""Starts ``python -m MODULE …`` or ``python -c CODE …`` as a fork of a process that has imported the libraries.

That saves three quarters of the CPU time of a start.

``python -m faust`` also has the handler, except commands and plugins, which have an effect on import. For each client,
the process forks a server, which ends with the client. A client sends a request and four descriptors: standard input,
output and error, and a pipe that receives the exit code.
"""

import contextlib
import gc
import importlib
import inspect
import io
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tests.support.parent_death import die_with_parent

_LIBRARIES = (
    "faust", "faust.cli.faust", "faust.app", "faust.agents", "faust.tables", "faust.transport.drivers.aiokafka",
    "faust.web.drivers.aiohttp", "faust.sensors.prometheus", "mode", "aiokafka", "aiokafka.admin", "aiohttp.web",
    "click", "cramjam", "sqlalchemy", "sqlalchemy.orm", "sqlalchemy.dialects.sqlite",
    "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.mysql", "psycopg2", "pymysql", "pydantic",
    "pydantic_settings", "yaml", "msgspec", "packaging.version", "prometheus_client",
    "cryptography.hazmat.primitives.asymmetric.rsa",
    "cryptography.hazmat.primitives.ciphers.aead", "Crypto.PublicKey.RSA", "Crypto.Cipher.PKCS1_OAEP",
    "alembic.operations", "alembic.runtime.migration", "alembic.script",
    "multiprocessing", "concurrent.futures.process", "concurrent.futures.thread", "sqlite3", "tarfile",
    "cryptography.hazmat.primitives.kdf.hkdf", "faust.app.router", "faust.assignor.leader_assignor",
    "faust.assignor.partition_assignor", "faust.events", "faust.stores.base", "faust.tables.objects",
    "faust.tables.sets", "faust.topics", "faust.web.apps.production_index",
)  # fmt: skip
_HANDLER = "sparkle_app"
# Faust registers commands, and Alembic runs revisions, on import.
_NOT_IMPORTED = ("cli", "_shipped_plugins", "storage.migrations.versions")
_PROCESSES = 2
_SOCKETS = "TEST_PRELOADED_SOCKETS"
SESSION = "TEST_SESSION_SECONDS"
"""The variable that replaces the session timeout of workers, if it is set before the processes start."""
_MAX_REQUEST_BYTES = 200_000
_PROJECT = Path(__file__).parents[2]
# They change how an interpreter starts.
_OF_THE_INTERPRETER = ("PYTHON", "LC_", "LANG", "MALLOC", "LD_")


class ForkedProcess:
    """A process that the server has forked, with the part of the interface of ``subprocess.Popen`` that tests use."""

    def __init__(self, pid: int, exit_codes: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._exit_codes = exit_codes

    def poll(self) -> int | None:
        """The exit code; None while the process runs; negative: the signal that ended it."""
        return self._read(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process ends, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: after ``timeout`` seconds.
        """
        code = self._read(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def _read(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._exit_codes, selectors.EVENT_READ)
                if selector.select(timeout):
                    # Nothing, if the server has been killed, and with it the process.
                    self.returncode = int(os.read(self._exit_codes, 20) or b"-9")
                    os.close(self._exit_codes)
        return self.returncode


class PreloadedServer:
    """The client's side of two processes, which end with the process that started them.

    They take turns, so that workers do not all have the same hashes of strings.
    """

    def __init__(self) -> None:
        self._connections: list[socket.socket] = []
        self._owner = 0
        self._alive: list[socket.socket] = []

    def share(self) -> None:
        """Start the processes, and have the children of this process use them, too."""
        names = [f"sparkle-preloaded-{uuid.uuid4().hex}" for _ in range(_PROCESSES)]
        for name in names:
            alive, theirs = socket.socketpair()
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, theirs:
                listener.bind(_address(name))
                listener.listen(64)
                descriptors = [listener.fileno(), theirs.fileno()]
                subprocess.Popen(
                    [sys.executable, "-m", "tests.support.preloaded", *map(str, descriptors)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=descriptors,
                    cwd=_PROJECT, start_new_session=True,
                )  # fmt: skip
            self._alive.append(alive)
        os.environ[_SOCKETS] = " ".join(names)

    def supports(self, command: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Whether a fork behaves as a process of its own would."""
        return (
            sys.platform == "linux"
            and command[0] == sys.executable
            and command[1] in ("-m", "-c")
            and environment.get("PYTHONPATH", str(_PROJECT)) == str(_PROJECT)
            and _of_the_interpreter(environment) == _of_the_interpreter(os.environ)
        )

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        output: BinaryIO,
        errors: BinaryIO,
    ) -> ForkedProcess:
        """Start a process without input in a session of its own.

        Arguments:
            command: one that is supported.
        """
        connection = self._connect()
        request = {"command": command[1:], "environment": dict(environment), "folder": str(folder)}
        read, write = os.pipe()
        with open(os.devnull, "rb") as empty:
            descriptors = [empty.fileno(), output.fileno(), errors.fileno(), write]
            socket.send_fds(connection, [json.dumps(request).encode()], descriptors)
        os.close(write)
        return ForkedProcess(int(connection.recv(20)), read)

    def _connect(self) -> socket.socket:
        if self._owner != os.getpid():
            self._connections, self._owner = [], os.getpid()
        if not self._connections:
            if _SOCKETS not in os.environ:
                self.share()
            for name in os.environ[_SOCKETS].split():
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                connection.connect(_address(name))
                self._connections.append(connection)
        self._connections.append(self._connections.pop(0))
        return self._connections[0]


def _address(name: str) -> str:
    # Of Linux's abstract namespace: there is no file to delete.
    return f"\0{name}"


def _of_the_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_OF_THE_INTERPRETER) and name != "PYTHONPATH"
    }


def _accept(listener: socket.socket, alive: socket.socket) -> socket.socket:
    """Fork for each client; returns its connection in the forked process, and ends this process with its owner."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(alive, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is alive:
                    sys.exit()
                connection, _ = listener.accept()
                if not os.fork():
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    listener.close()
                    alive.close()
                    return connection
                connection.close()


def _serve(connection: socket.socket) -> dict[str, Any]:
    """Fork for each request; returns the request in the forked process, and ends this process with the client."""
    exit_codes: dict[int, tuple[int, int]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not connection:
                    _report(exit_codes, selector, int(key.fd))
                    continue
                message, descriptors, _, _ = socket.recv_fds(connection, _MAX_REQUEST_BYTES, 4)
                if not message:
                    sys.exit()
                request: dict[str, Any] = json.loads(message)
                if not (pid := os.fork()):
                    connection.close()
                    for watched, (_, pipe) in exit_codes.items():
                        os.close(watched)
                        os.close(pipe)
                    return request | {"descriptors": descriptors}
                watched = os.pidfd_open(pid)
                exit_codes[watched] = pid, descriptors.pop()
                selector.register(watched, selectors.EVENT_READ)
                for each in descriptors:
                    os.close(each)
                connection.send(str(pid).encode())


def _report(exit_codes: dict[int, tuple[int, int]], selector: selectors.BaseSelector, watched: int) -> None:
    pid, pipe = exit_codes.pop(watched)
    selector.unregister(watched)
    os.close(watched)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(pipe, str(os.waitstatus_to_exitcode(status)).encode())
    os.close(pipe)


def _become(request: dict[str, Any]) -> None:
    """Turn this process into the requested one, and run it."""
    os.setsid()
    die_with_parent()
    *streams, pipe = request["descriptors"]
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.close(pipe)
    # The existing objects believe that they can be positioned, as /dev/null can.
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = _writer(descriptor, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    option, program, *arguments = request["command"]
    if program != "faust" or (
        Path(request["folder"], _HANDLER).exists() and Path(request["folder"]) != _PROJECT
    ):
        _forget(_HANDLER)
    sys.path[0] = request["folder"] if option == "-m" else ""
    if path := os.environ.get("PYTHONPATH"):
        sys.path.insert(1, path)
    # In place: Faust has bound the list as a default argument.
    sys.argv[:] = [option, *arguments]
    # The tests are no part of the program.
    _forget("tests")
    if option == "-m":
        # Faust replaces its entry in sys.modules, so that runpy does not find the package itself.
        package = program == "faust"
        runpy.run_module(f"{program}.__main__" if package else program, run_name="__main__", alter_sys=True)
    else:
        exec(program, {"__name__": "__main__"})


def _writer(descriptor: int, like: io.TextIOWrapper) -> io.TextIOWrapper:
    unbuffered = like.write_through
    return io.TextIOWrapper(
        open(descriptor, "wb", 0 if unbuffered else -1, closefd=False),
        encoding=like.encoding,
        errors=like.errors,
        newline="\n",
        line_buffering=like.line_buffering,
        write_through=unbuffered,
    )


def _forget(package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def _import_handler() -> None:
    package = importlib.import_module(_HANDLER)
    if seconds := os.environ.get(SESSION):
        # Before other modules import it.
        consumer: Any = importlib.import_module(f"{_HANDLER}.kafka.consumer")
        consumer.SESSION_SECONDS = int(seconds)
        consumer.HEARTBEAT_SECONDS = int(seconds) // 3
    for found in pkgutil.walk_packages(package.__path__, f"{_HANDLER}."):
        if not found.name.removeprefix(f"{_HANDLER}.").startswith(_NOT_IMPORTED):
            importlib.import_module(found.name)


if __name__ == "__main__":
    for name in _LIBRARIES:
        importlib.import_module(name)
    _import_handler()
    # Faust asks it for the module of each agent, for which it looks up the file of every module, once.
    inspect.getmodule(sys._getframe())
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    listener, alive = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    _become(_serve(_accept(listener, alive)))
