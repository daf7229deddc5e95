"""A MySQL server for tests, from the files of tests/support/fetch-mysql."""

import os
import subprocess
from pathlib import Path

from tests.support.mariadb import MariadbServer
from tests.support.worker import PROJECT

FILES = PROJECT / ".cache" / "mysql"
_LIBRARIES = FILES / "usr" / "lib" / "x86_64-linux-gnu"
_SHARE = FILES / "usr" / "share" / "mysql"


class MysqlServer(MariadbServer):
    """MySQL, on a port that does not change between restarts. Its log is ``folder``/mysql.log."""

    name = "MySQL"
    # It may run as root if it is told so. The user nobody could not read the files.
    unprivileged_user = None

    @staticmethod
    def installed() -> bool:
        """Whether the files are there."""
        return (FILES / "usr" / "sbin" / "mysqld").exists()

    def program(self) -> list[str]:
        """The server, with the C library that it needs, and where it finds its files."""
        command = [
            _LIBRARIES / "ld-linux-x86-64.so.2",
            "--library-path",
            _LIBRARIES,
            FILES / "usr" / "sbin" / "mysqld",
        ]
        options = {
            "basedir": FILES / "usr",
            "lc-messages-dir": _SHARE,
            "character-sets-dir": _SHARE / "charsets",
            "plugin-dir": _LIBRARIES / "mysql" / "plugin",
            "mysqlx": "OFF",
            "secure-file-priv": "NULL",
        }
        words = [
            *map(str, command),
            "--no-defaults",
            *(f"--{name}={value}" for name, value in options.items()),
        ]
        return [*words, "--user=root"] if os.geteuid() == 0 else words

    def create_data(self, data: Path) -> None:
        """Create the data directory."""
        done = subprocess.run(
            [*self.program(), "--initialize-insecure", f"--datadir={data}"],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"mysqld --initialize-insecure failed: {done.stdout}{done.stderr}"
