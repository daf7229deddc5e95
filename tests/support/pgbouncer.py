"""PgBouncer in front of a PostgreSQL server, for tests."""

import os
import shutil
import tempfile
from pathlib import Path

import psycopg2

from tests.support.postgres import PostgresServer
from tests.support.processes import Process, free_port

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
"""Debian installs it in a folder that is not in every user's PATH."""


class PgBouncer:
    """PgBouncer with transaction pooling, and otherwise its default configuration. Its log is ``folder``/pgbouncer.log.

    Like PostgreSQL, it refuses to run as root.

    Arguments:
        folder: where the log is written.
        server: the server that it connects to.
    """

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        assert PROGRAM, "the program pgbouncer is missing; install the package pgbouncer"
        user = "nobody" if os.geteuid() == 0 else None
        self.port = free_port()
        self._home = Path(tempfile.mkdtemp(prefix="sparkle-pgbouncer-"))
        settings = self._home / "pgbouncer.ini"
        settings.write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={server.port} user=postgres\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\n"
        )
        if user:
            shutil.chown(self._home, user)
        self.process = Process(
            "PgBouncer", [PROGRAM, str(settings)], folder / "pgbouncer.log", folder=self._home, user=user
        )

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database of the server."""
        return f"postgresql+psycopg2://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process.start()
        self.process.wait_until(self._answers, "answer to a connection", 30)

    def remove(self) -> None:
        """Stop it, and delete its configuration."""
        self.process.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres").close()
        except psycopg2.OperationalError:
            return False
        return True
