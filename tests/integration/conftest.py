"""Fixtures: real servers, which all tests share, and a workspace and workers for each test."""

import contextlib
import itertools
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.engine import URL, make_url

from sparkle_app.config.urls import database_url as accepted_url
from sparkle_app.storage import columns
from sparkle_app.storage.dialects.base import DIALECTS
from sparkle_app.storage.engine import make_engine
from tests.support.broker import Broker, EmbeddedBroker
from tests.support.browser import Visitor, chromium
from tests.support.cluster import InProcessWorker
from tests.support.collector import Collector
from tests.support.database import drop_tables
from tests.support.fleet import Fleet
from tests.support.host_history import host_with_history
from tests.support.installation import Installation
from tests.support.kafka import LIBS, KafkaBroker
from tests.support.mariadb import MariadbServer
from tests.support.mysql import MysqlServer
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy
from tests.support.rows import store
from tests.support.statements import WithoutOwnStatements
from tests.support.worker import Worker, Workspace

StartWorker = Callable[..., Worker]
Visit = Callable[..., Visitor]
MakeEngine = Callable[..., Engine]
STATEMENTS = ("own statements", "SQLAlchemy's", "portable")
LOG_LINES = 60
"""Number of lines of each worker's log that the report of a failed test shows."""


@pytest.fixture(scope="session")
def make_broker(request: pytest.FixtureRequest) -> Callable[[Path], Broker]:
    """A function that creates a broker of the kind that --broker selects, in an empty folder, without starting it."""
    if request.config.getoption("broker") == "tansu":
        return EmbeddedBroker
    if not LIBS.is_dir():
        pytest.exit(f"--broker=kafka: expected Kafka's jars in {LIBS}; `make test-kafka` fetches them", 4)
    if not shutil.which("java"):
        pytest.exit("--broker=kafka: Java is missing; install the package openjdk-17-jre-headless", 4)
    return KafkaBroker


@pytest.fixture(scope="session")
def broker(
    make_broker: Callable[[Path], Broker], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """A running broker that all tests share. A test that stops a broker creates its own with make_broker."""
    shared = make_broker(tmp_path_factory.mktemp("broker"))
    with contextlib.ExitStack() as stack:
        stack.callback(shared.kill)
        shared.start()
        yield shared


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A running PostgreSQL server that all tests share. A test that stops a server creates its own PostgresServer."""
    shared = PostgresServer(tmp_path_factory.mktemp("postgres"))
    with contextlib.ExitStack() as stack:
        stack.callback(shared.remove)
        shared.start()
        yield shared


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    """A running MariaDB server that all tests share. A test that stops a server creates its own MariadbServer."""
    shared = MariadbServer(tmp_path_factory.mktemp("mariadb"))
    with contextlib.ExitStack() as stack:
        stack.callback(shared.remove)
        shared.start()
        yield shared


@pytest.fixture(scope="session")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MysqlServer]:
    """A running MySQL server that all tests share."""
    if not MysqlServer.installed():
        pytest.skip("needs MySQL: run tests/support/fetch-mysql .cache/mysql")
    shared = MysqlServer(tmp_path_factory.mktemp("mysql"))
    with contextlib.ExitStack() as stack:
        stack.callback(shared.remove)
        shared.start()
        yield shared


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; the test runs once with SQLite and once with PostgreSQL.

    Tests marked with :data:`tests.support.database.EVERY_DATABASE` also run with MariaDB.
    """
    if isinstance(request.param, URL):
        given = request.param.render_as_string(hide_password=False)
        drop_tables(given)
        return given
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'readings.sqlite3'}"
    name = request.param if request.param in ("mariadb", "mysql") else "postgres"
    server: PostgresServer | MariadbServer = request.getfixturevalue(name)
    url = server.create_database(f"test_{uuid.uuid4().hex[:8]}")
    return url.replace("+psycopg2", "+psycopg") if request.param == "psycopg" else url


@pytest.fixture(params=STATEMENTS)
def any_statements(
    request: pytest.FixtureRequest, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """An empty database, used with its own statements, those of SQLAlchemy, and those that suit any database."""
    url = make_url(database_url)
    name = url.get_backend_name()
    if request.param == "SQLAlchemy's":
        monkeypatch.setattr(columns, "are_plain", lambda _table: False)
    elif request.param == "portable":
        monkeypatch.setitem(DIALECTS, name, WithoutOwnStatements(DIALECTS[name]))
    engine = make_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The folder, app id and plugin topic for the workers of one test."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    return Workspace(folder)


@pytest.fixture
def source(tmp_path: Path) -> str:
    """The URL of an SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'source.sqlite3'}"


@pytest.fixture
def installation(workspace: Workspace, database_url: str, request: pytest.FixtureRequest) -> Installation:
    """An empty database of an installation that has the key pair of a collector."""
    server = None if database_url.startswith("sqlite") else request.getfixturevalue("postgres")
    Collector(workspace.certs)
    return Installation(workspace, database_url, server)


@pytest.fixture
def make_mariadb(mariadb: MariadbServer) -> Iterator[MakeEngine]:
    """Makes engines of an empty database; ``user`` and other parts of the URL, and ``for_command``, may be given."""
    url = make_url(mariadb.create_database(f"test_{uuid.uuid4().hex[:8]}"))
    made = []

    def make(*, for_command: bool = False, **parts: Any) -> Engine:
        engine = make_engine(url.set(**parts), for_command=for_command)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.dispose()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A TCP proxy, whose target the test sets."""
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture
async def worker(tmp_path: Path, database_url: str) -> AsyncIterator[InProcessWorker]:
    """A worker's web server in this process; its database has the tables of the plugins, and no rows."""
    store(database_url, [])
    async with InProcessWorker(tmp_path / "worker", f"database: {{url: '{database_url}'}}") as worker:
        yield worker


@pytest.fixture
def start_worker(broker: Broker, database_url: str, workspace: Workspace) -> Iterator[StartWorker]:
    """``start_worker(**settings)`` starts a worker (``web__token="x"``) and waits until it is ready.

    ``ready=False`` does not wait. At the end of the test, workers are killed, and the test fails if one has logged a
    defect or exited with an error that is not in ``worker.expected``.
    """
    numbers = itertools.count(1)
    with contextlib.ExitStack() as stack:

        def start(*, ready: bool = True, port: int | None = None, **settings: Any) -> Worker:
            # Tests with SQLite use multi-buffer RSA if the machine supports it, so that both implementations are
            # tested.
            settings = {"ingest__multibuffer": database_url.startswith("sqlite"), **settings}
            environment = workspace.environment(broker.bootstrap, database_url, **settings)
            worker = Worker(environment, workspace.folder / f"worker-{next(numbers)}.log", port)
            stack.callback(worker.close)
            worker.start()
            if ready:
                worker.wait_ready()
            return worker

        yield start


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser. It ends with the module: other tests run asyncio in the same thread."""
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """``visit(worker, **options)`` opens a window. The test fails if anything goes wrong in it that is not in
    ``visitor.expected``.
    """
    with contextlib.ExitStack() as stack:

        def begin(worker: Worker, **options: Any) -> Visitor:
            visitor = Visitor(browser, worker, **options)
            stack.callback(visitor.close)
            return visitor

        yield begin


@pytest.fixture(scope="module")
def history(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A worker with the history of a host."""
    with host_with_history(broker, tmp_path_factory.mktemp("history")) as running:
        yield running


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the tests marked with ``every_database`` their databases, before pytest uses those of the fixture."""
    if not metafunc.definition.get_closest_marker("every_database"):
        return
    databases: list[str | URL] = ["sqlite", "postgresql", "psycopg", "mariadb", "mysql"]
    if given := metafunc.config.getoption("database_url"):
        # As the settings read it: mysql:// names a driver, too.
        databases = [make_url(accepted_url(SecretStr(given)).get_secret_value())]
    pairs = [(database, kind) for database in databases for kind in _kinds(database)]
    names = [f"{kind}-{each if isinstance(each, str) else each.get_backend_name()}" for each, kind in pairs]
    mark = pytest.mark.parametrize(("database_url", "any_statements"), pairs, ids=names, indirect=True)
    metafunc.definition.add_marker(mark)


def _kinds(database: str | URL) -> Sequence[str]:
    """The statements to test: another driver or server makes no difference to SQLAlchemy's and the portable ones."""
    if isinstance(database, str):
        known = database not in ("psycopg", "mysql")
    else:
        known = database.get_backend_name() in DIALECTS
    return STATEMENTS if known else STATEMENTS[:1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the ends of the workers' logs to the report of a failed test: they usually show the cause."""
    report = yield
    if call.when == "call" and report.failed:
        for log in sorted(set(_logs_of(item))):
            text = log.read_text("utf-8", "replace")
            report.sections.append((str(log.name), "\n".join(text.splitlines()[-LOG_LINES:])))
    return report


def _logs_of(item: pytest.Item) -> Iterator[Path]:
    """Of the workers of the test, and of those that it shares with others."""
    for used in getattr(item, "funcargs", {}).values():
        workspace = getattr(used, "workspace", used)
        if isinstance(workspace, Workspace):
            yield from workspace.folder.glob("worker*.log")


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder for pictures."""
    folder: Path = request.config.getoption("pictures") or tmp_path
    folder.mkdir(exist_ok=True)
    return folder
