"""`make test-wheel`: the wheel, installed in a new virtual environment and run in an empty folder."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

import sparkle_app
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.eventually import eventually
from tests.support.processes import free_port
from tests.support.produce import produce
from tests.support.requirements import packages
from tests.support.worker import PROJECT, Worker

Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.wheel


def environment(**settings: str) -> dict[str, str]:
    """The environment of this process, without variables that select settings or could import from the checkout."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SPARKLE_", "PYTHON", "VIRTUAL_ENV"))
    } | settings


@pytest.fixture(scope="module")
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder bin/ of a virtual environment in which the wheel and its requirements are installed."""
    wheel = Path(request.config.getoption("wheel")).resolve(strict=True)
    folder = tmp_path_factory.mktemp("installed")
    # The wheel declares its requirements, and requirements.txt pins their versions.
    versions = folder / "versions.txt"
    versions.write_text(
        "\n".join(line.partition("--hash")[0] for line in packages(PROJECT / "requirements.txt"))
    )
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, env=environment(), timeout=120)
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "install", "--constraint", versions, wheel],
        check=True, env=environment(), cwd=folder, timeout=600,
    )  # fmt: skip
    return folder / "bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The empty working directory of all commands."""
    empty = tmp_path / "anywhere"
    empty.mkdir()
    return empty


@pytest.fixture
def broker(make_broker: Callable[[Path], Broker], tmp_path: Path) -> Iterator[Broker]:
    """A broker for each test: with default settings, the names of topics would be the same."""
    own = make_broker(tmp_path)
    try:
        own.start()
        yield own
    finally:
        own.kill()


@pytest.fixture
def run(programs: Path, folder: Path) -> Run:
    """A function that runs an installed program in ``folder``, and waits until it ends."""

    def run(program: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [programs / program, *arguments],
            env=environment(**settings), cwd=folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run


@pytest.fixture(params=["faust -A sparkle_app worker", "sparkle worker"])
def start(
    request: pytest.FixtureRequest, programs: Path, folder: Path, tmp_path: Path
) -> Iterator[Callable[[dict[str, str]], Worker]]:
    """A function that starts a worker in ``folder``, and waits until it is ready."""
    program, *arguments = request.param.split()
    with contextlib.ExitStack() as stack:

        def start(settings: dict[str, str]) -> Worker:
            command = [str(programs / program), *arguments]
            worker = Worker(environment(**settings), tmp_path / "worker.log", command=command, folder=folder)
            stack.callback(worker.close)
            worker.start()
            worker.wait_ready()
            return worker

        yield start


def test_the_installed_wheel_is_used(run: Run, programs: Path, folder: Path) -> None:
    where = run(
        "python", "-c", "import sparkle_app, sparkleM_core as c; print(sparkle_app.__file__, c.__file__)"
    )
    assert where.returncode == 0, where.stderr
    for file in map(Path, where.stdout.split()):
        assert file.is_relative_to(programs.parent)
        assert not file.is_relative_to(PROJECT)
    version = run("sparkle", "--version")
    assert (version.returncode, version.stdout) == (0, f"sparkle {sparkle_app.__version__}\n")
    metadata = run(
        "python", "-c", "from importlib.metadata import version as v; print(v('sparkle-m-handler'))"
    )
    assert metadata.stdout.strip() == sparkle_app.__version__
    assert not list(folder.iterdir())


def test_a_record_becomes_an_average_in_an_empty_folder(
    broker: Broker, run: Run, start: Callable[[dict[str, str]], Worker], programs: Path, folder: Path
) -> None:
    settings = {"SPARKLE_BROKER__URL": broker.bootstrap}
    made = run("sparkle", "gen-config", "--address", "127.0.0.1", "--yes", **settings)
    assert made.returncode == 0, made.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["certs", "config.tar.xz"]
    checked = run("sparkle", "check", **settings, SPARKLE_WEB__PORT=str(free_port()))
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout
    shipped = programs.parent / "lib"
    for plugin in ("PU_Workload", "Temperature"):
        (line,) = (
            line for line in checked.stdout.splitlines() if line.startswith(f"ok    plugin: {plugin} ")
        )
        assert Path(line.rpartition(", ")[2]).is_relative_to(shipped)

    worker = start(settings)
    collector = Collector.of_archive(folder / "config.tar.xz")
    produce(broker.bootstrap, "telemetry", [collector.record("web-1", "Temperature", "core/0", 41.5)])
    path = "/api/v1/plugins/Temperature/hosts/web-1?window=5m"
    _, answer = eventually(lambda: worker.get(path), lambda found: found[0] == 200)
    assert answer["metrics"]["core/0"]["average"] == 41.5
    assert answer["metrics"]["core/0"]["count"] == 1
    page = requests.get(worker.url, headers={"Accept": "text/html"}, timeout=10).text
    script = re.search(r'src="(/assets/[^"]+)"', page)
    assert script
    assert "startRouter" in requests.get(worker.url + script[1], timeout=10).text
    assert (folder / "data" / "sparkle.sqlite3").is_file()
    verified = run("sparkle", "verify", **settings)
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
    assert "Temperature: 1 reading, 1 aggregate, 0 differences" in verified.stdout
    assert worker.terminate() == 0


def test_the_revisions_of_the_schema_are_installed(run: Run, folder: Path) -> None:
    plan = run("sparkle", "migrate", "--dry-run")
    assert (plan.returncode, plan.stderr) == (0, "")
    assert "would create temperature_readings_data\n" in plan.stdout
    done = run("sparkle", "migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("; schema revision 0005\n")
    assert (folder / "data" / "sparkle.sqlite3").is_file()
