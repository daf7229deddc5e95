"""A MariaDB server for tests."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pymysql

from tests.support.processes import Process, data_folder, free_port

USER = "sparkle"
PASSWORD = "p@ss/w0rd"
ADMIN = "admin"
# Unlike what the handler needs: nothing may depend on the defaults of a server.
_DEFAULTS = {
    "character-set-server": "latin1",
    "collation-server": "latin1_swedish_ci",
    "default-time-zone": "+05:30",
    "sql-mode": "ANSI_QUOTES,PIPES_AS_CONCAT",
}


class MariadbServer:
    """MariaDB, on a port that does not change between restarts. Its log is ``folder``/mariadb.log.

    Root starts it as the user ``nobody``. The data directory is in a temporary folder, in memory without ``fsync``,
    which :meth:`remove` deletes.

    Arguments:
        folder: where the log is written.
        fsync: whether a commit waits for the disk, as in production. A kill of the process loses nothing either way.
    """

    name = "MariaDB"
    unprivileged_user: str | None = "nobody"
    """As whom root starts it."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.port = free_port()
        self._user = self.unprivileged_user if os.geteuid() == 0 else None
        prefix = "sparkle-mariadb-"
        self._home = Path(tempfile.mkdtemp(prefix=prefix)) if fsync else data_folder(prefix)
        if self._user:
            shutil.chown(self._home, self._user)
        self._data = self._home / "data"
        self._grants = self._home / "grants.sql"
        options = {
            "datadir": self._data,
            "tmpdir": self._home,
            "socket": self._home / "socket",
            "pid-file": self._home / "pid",
            "bind-address": "127.0.0.1",
            "port": self.port,
            "init-file": self._grants,
            "innodb-flush-log-at-trx-commit": 1 if fsync else 2,
            "innodb-buffer-pool-size": "128M",
            # MySQL does not have it.
            "loose-innodb-log-file-size": "64M",
            **_DEFAULTS,
        }
        command = [*self.program(), "--skip-name-resolve"]
        command += [f"--{name}={value}" for name, value in options.items()]
        log = folder / f"{self.name.lower()}.log"
        self.process = Process(self.name, command, log, folder=self._home, user=self._user)

    def program(self) -> list[str]:
        """The server, and options that do not depend on this object."""
        return [_program("mariadbd"), "--no-defaults"]

    def url(self, database: str, port: int | None = None) -> str:
        """The SQLAlchemy URL of a database; ``port`` leads to this server."""
        password = PASSWORD.replace("@", "%40").replace("/", "%2F")
        return f"mysql+pymysql://{USER}:{password}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start the server, with the data that it has stored, and wait until it answers."""
        if not self._data.exists():
            self._install()
        self.process.start()
        self.process.wait_until(self._answers, "answer to a connection", 60)

    def stop(self) -> None:
        """Stop the server; sessions are terminated."""
        self.process.stop()

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self.process.kill()

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.process.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def create_database(self, name: str) -> str:
        """Create an empty database, in which the user has all privileges, and return its URL."""
        self.run(f"CREATE DATABASE {name}", f"GRANT ALL ON {name}.* TO {USER}@'%'")
        return self.url(name)

    def copy_database(self, name: str, source: "MariadbServer") -> str:
        """Create a database with the tables and rows of the one with this name on another server; return its URL."""
        url = self.create_database(name)
        dump = [*self._client("mariadb-dump", source.port), "--single-transaction", "--hex-blob", name]
        dumped = subprocess.run(dump, check=True, timeout=60, stdout=subprocess.PIPE)
        subprocess.run(
            [*self._client("mariadb", self.port), name], check=True, timeout=60, input=dumped.stdout
        )
        return url

    def make_read_only(self) -> None:
        """Let the server, like a replica, refuse every write, also the commit of a transaction that has written."""
        self.run("SET GLOBAL read_only = 1")

    def _client(self, program: str, port: int) -> list[str]:
        options = ("--no-defaults", "--host=127.0.0.1", f"--port={port}", f"--user={ADMIN}")
        return [_program(program), *options, f"--password={PASSWORD}"]

    def clients(self, folder: Path) -> dict[str, str]:
        """The environment in which client programs connect to this server.

        Arguments:
            folder: where their options are written.
        """
        options = {"host": "127.0.0.1", "port": self.port, "user": ADMIN, "password": f'"{PASSWORD}"'}
        lines = [f"{name}={value}" for name, value in options.items()]
        (folder / ".my.cnf").write_text("\n".join(["[client]", *lines, ""]))
        return {"HOME": str(folder)}

    def run(self, *statements: str) -> list[Any]:
        """Execute statements as the administrator; return the rows of the last one."""
        with contextlib.closing(self._connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def end_sessions(self, database: str) -> None:
        """End all sessions that use a database, as they keep their privileges."""
        ids = f"SELECT id FROM information_schema.processlist WHERE db = '{database}'"
        for (number,) in self.run(ids):
            # It may have ended by itself.
            with contextlib.suppress(pymysql.err.OperationalError):
                self.run(f"KILL {number}")

    def _connect(self) -> Any:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=ADMIN,
            password=PASSWORD,
            connect_timeout=2,
            autocommit=True,
            # Reading the certificate authorities of the system takes longer than most statements.
            ssl_disabled=True,
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def _install(self) -> None:
        self.create_data(self._data)
        self._grants.write_text(
            f"CREATE USER IF NOT EXISTS {ADMIN}@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO {ADMIN}@'%' WITH GRANT OPTION;\n"
            f"CREATE USER IF NOT EXISTS {USER}@'%' IDENTIFIED BY '{PASSWORD}';\n"
        )

    def create_data(self, data: Path) -> None:
        """Create the data directory."""
        # The scripts of Debian's package look for the server in PATH.
        done = subprocess.run(
            [
                _program("mariadb-install-db"),
                *("--no-defaults", f"--datadir={data}", "--skip-test-db", "--skip-log-bin"),
                # In /tmp, another server that starts meanwhile deletes the temporary tables.
                f"--tmpdir={self._home}",
                *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self._home,
            user=self._user,
        )
        assert done.returncode == 0, f"mariadb-install-db failed: {done.stdout}{done.stderr}"


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert found, f"the program {name} is missing; install the package mariadb-server"
    return found
