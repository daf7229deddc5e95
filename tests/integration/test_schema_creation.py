"""Tables are created and migrated by one process at a time: by workers that start, and by `migrate` beside them."""

import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from sparkle_app.model.errors import TransientError
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.plugin_api import Base
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.migrations.branches import core_branch
from sparkle_app.storage.migrations.migration import create_tables, migrate
from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.installation import OLDER, SHIPPED, Installation, older
from tests.support.migrating_plugin import TABLES, write_plugin, write_revision
from tests.support.processes import Process
from tests.support.schemas import tables
from tests.support.worker import PROJECT, run_command

pytestmark = pytest.mark.any_broker


LIMITS = """
    connection = op.get_bind()
    limit = connection.execute(text("SHOW statement_timeout")).scalar()
    answer = connection.connection.driver_connection.seconds
    op.execute(text(f"CREATE TABLE limits AS SELECT '{limit}' AS statement, '{answer}' AS answer"))
"""


def test_several_processes_create_the_tables_at_once(installation: Installation) -> None:
    write_plugin(installation.workspace.plugins, 2)
    start = installation.workspace.folder / "start"
    code = f"""
import sys, time
from pathlib import Path
from sqlalchemy.engine import make_url
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.migrations.migration import create_tables
plugins = load_plugins(Path({str(installation.workspace.plugins)!r}))
engine = make_engine(make_url({installation.url!r}))
print("loaded", flush=True)
while not Path({str(start)!r}).exists():
    time.sleep(0.001)
create_tables(engine, plugins.branches)
"""
    command = [sys.executable, "-c", code]
    processes = [
        Process(f"process {number}", command, installation.workspace.folder / f"{number}.log", folder=PROJECT)
        for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        eventually(process.log.read_text, lambda text: text == "loaded\n")
    start.touch()
    for process in processes:
        assert process.wait(60) == 0, process.tail()
        assert process.log.read_text() == "loaded\n"
    assert installation.revisions() == ["0005", "fan_speed_0002"]
    assert sorted(tables(installation.url)) == sorted((*SHIPPED, *TABLES, "sparkle_schema"))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_revision_has_no_time_limit(database_url: str, tmp_path: Path) -> None:
    engine = make_engine(make_url(database_url))
    write_revision(tmp_path / "before", 1, "pass", prefix="")
    create_tables(engine, [core_branch(tmp_path / "before")])
    for number, upgrade in enumerate(("pass", LIMITS), 1):
        write_revision(tmp_path / "after", number, upgrade, prefix="")
    migrate(engine, [core_branch(tmp_path / "after")], [], lambda _: None)
    assert query(database_url, "SELECT * FROM limits") == [{"statement": "0", "answer": "None"}]
    with engine.begin() as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "1min"
        assert connection.connection.driver_connection.seconds == 65  # type: ignore[union-attr]
    engine.dispose()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_process_waits_for_another_that_migrates(database_url: str) -> None:
    engine = make_engine(make_url(database_url))
    with engine.connect() as other, dialect_of(other).schema_lock(other):
        with pytest.raises(TransientError, match="another process creates or migrates its tables"):
            create_tables(engine, [core_branch()])
        other.commit()
    create_tables(engine, [core_branch()])
    engine.dispose()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_tables_that_exist_need_no_privilege_to_create_one(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    load_plugins(PROJECT / "plugins")
    # Other tests of this process may have declared further tables.
    create_all(installation.url)
    user = f"user_{make_url(installation.url).database}"
    installation.script(
        f"CREATE ROLE {user} LOGIN; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {user};"
    )
    engine = make_engine(make_url(installation.url).set(username=user))
    for _ in range(2):
        create_tables(engine, [core_branch()])
    assert (
        "cannot record the schema's revision in sparkle_schema: permission denied for schema" in caplog.text
    )
    engine.dispose()


def create_all(url: str) -> None:
    engine = make_engine(make_url(url))
    Base.metadata.create_all(engine)
    engine.dispose()


def test_workers_migrate_only_if_they_may(installation: Installation, start_worker: StartWorker) -> None:
    older(installation)
    refused = start_worker(ready=False)
    log = refused.wait_failure()
    (line,) = (each for each in log.splitlines() if "at schema revision" in each)
    assert line.endswith(f"at schema revision fan_speed_0002 of plugin Fan_Speed, {OLDER}")
    workers = [start_worker(ready=False, database__migrate=True) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    logs = [worker.process.log.read_text() for worker in workers]
    applied = [
        text.count("migrating: applying revision fan_speed_0002 of plugin Fan_Speed: Step 2.")
        for text in logs
    ]
    assert sum(applied) == 1, logs
    assert installation.revisions() == ["0005", "fan_speed_0002"]
    assert count(installation.url, TABLES[0]) == 3


def test_two_workers_start_at_once_on_an_empty_database(
    installation: Installation, start_worker: StartWorker
) -> None:
    write_plugin(installation.workspace.plugins, 2)
    for worker in [start_worker(ready=False) for _ in range(2)]:
        worker.wait_ready()
    assert installation.revisions() == ["0005", "fan_speed_0002"]


def test_watermarks_are_not_introduced_while_workers_run(
    installation: Installation, start_worker: StartWorker, broker: Broker
) -> None:
    start_worker()
    environment = installation.workspace.environment(broker.bootstrap, installation.url)
    # As a worker of an earlier version.
    installation.script("UPDATE sparkle_schema SET version_num = '0002' WHERE version_num = '0005';")
    refused = run_command(environment, "migrate")
    assert refused.returncode == 1
    assert "expected no members, found 1; stop all workers" in refused.stderr
    assert run_command(environment, "migrate", "--dry-run").returncode == 0
