"""An installation whose schema is migrated: its plugins, its settings, and a database with readings."""

import subprocess
from collections.abc import Iterable

from sqlalchemy.engine import make_url

from sparkle_app.model.retention import READINGS
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.names import create_series, create_sources
from tests.support.database import query
from tests.support.migrating_plugin import TABLES, write_plugin
from tests.support.postgres import PostgresServer
from tests.support.processes import free_port
from tests.support.schemas import run_script
from tests.support.worker import Workspace, run_command

HOSTS = ("sparkle_hosts", "sparkle_retention")
NAMES = ("sparkle_series", "sparkle_sources")
SHIPPED = (
    *("pu_workload_aggregates_data", "pu_workload_readings_data"),
    *HOSTS,
    *NAMES,
    *("temperature_aggregates_data", "temperature_readings_data"),
)
OLDER = "found fan_speed_0001; run `faust -A sparkle_app migrate`, or set database.migrate to true"


class Installation:
    """Plugins, settings and a database."""

    def __init__(self, workspace: Workspace, url: str, server: PostgresServer | None) -> None:
        self.workspace, self.url, self.server = workspace, url, server
        # Nothing listens there.
        self.broker = f"127.0.0.1:{free_port()}"
        self.environment = workspace.environment(self.broker, url)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command."""
        return run_command(self.environment, *arguments)

    def migrate(self, *options: str) -> str:
        """The output of a migration that succeeds."""
        done = self.run("migrate", *options)
        assert done.returncode == 0, done.stderr
        if done.stderr:
            # Of revisions that exclude workers; nobody can say whether one runs.
            assert done.stderr.startswith(f"warning: {self.broker}: "), done.stderr
            assert done.stderr.endswith("; make sure that no worker runs\n")
            assert done.stderr.count("\n") == 1
        return done.stdout

    def script(self, statements: str) -> None:
        """Execute statements with the client of the database."""
        run_script(self.url, statements, self.server)

    def revisions(self) -> list[str]:
        """The recorded revisions."""
        return [row["version_num"] for row in query(self.url, "SELECT * FROM sparkle_schema ORDER BY 1")]

    def check(self) -> str:
        """The line about the database."""
        lines = self.run("check").stdout.splitlines()
        return next(line for line in lines if line.split()[1] == "database:")

    def add_readings(self, table: str, number: int) -> None:
        """Insert readings of one series into a table of their rows."""
        engine = make_engine(make_url(self.url))
        with engine.begin() as connection:
            (series,) = create_series(connection, [("host", "k")], READINGS).values()
            (source,) = create_sources(connection, [(1, "t", 0, True)]).values()
        engine.dispose()
        id_, at = "X'{:032x}'", "1795435200000000"
        if self.server:
            id_, at = "'{:032x}'", "'2026-11-23T12:00:00Z'"
        rows = [
            f"({id_.format(each)}, {at}, {at}, {each}, {each}, {series}, {source})" for each in range(number)
        ]
        names = 'id, observed_at, received_at, "offset", value, series_id, source_id'
        self.script(f"INSERT INTO {table} ({names}) VALUES {', '.join(rows)};")

    def add_wide_readings(self, table: str, number: int) -> None:
        """Insert readings into a table of a version without migrations."""
        names = "id, config_id, hostname, metric, value, observed_at, received_at, clock_trusted, topic, partition"
        at = "'2026-11-23 12:00:00.000000'"
        rows = [
            f"('{each:032x}', {1 + each % 2}, 'host-{each % 7}', 'k{each % 3}', {each}, {at}, {at}, true, 't', 0,"
            f" {each})"
            for each in range(number)
        ]
        self.script(f"""INSERT INTO {table} ({names}, "offset") VALUES {", ".join(rows)};""")


def older(installation: Installation) -> Installation:
    """With three readings in the tables of version 1 of a plugin whose version 2 is installed."""
    write_plugin(installation.workspace.plugins, 1)
    installation.migrate()
    installation.add_readings(TABLES[0], 3)
    write_plugin(installation.workspace.plugins, 2)
    return installation


def dropped(names: Iterable[str], url: str) -> str:
    """Statements that drop tables."""
    cascade = "" if url.startswith("sqlite") else " CASCADE"
    return " ".join(f"DROP TABLE {name}{cascade};" for name in sorted(names))


def copy(installation: Installation) -> Installation:
    """Another database with the same content."""
    url = make_url(installation.url)
    name = f"{url.database}_copy"
    if installation.server:
        installation.server.create_database(name, str(url.database))
    else:
        run_script(installation.url, f"VACUUM INTO '{name}'", None)
    copied = url.set(database=name).render_as_string(hide_password=False)
    return Installation(installation.workspace, copied, installation.server)
