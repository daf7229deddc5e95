"""Export and import by their commands: what is stored in one database is the same in another; no worker runs."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy.engine import make_url

from sparkle_app.model.time import micros
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.retention import advance, begin
from tests.support.database import EVERY_DATABASE, Rows, query
from tests.support.processes import Process, run_program
from tests.support.rows import store
from tests.support.worker import PROJECT, Workspace, command_process, faust, read_one_line, run_command

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOWHERE = "127.0.0.1:1"
"""The broker's address: these commands do not connect to it."""
HOSTS = ("web-1", '=cmd|"x"!A1', "a,b\nc", "'quoted", "+ядро", "-")
READINGS = [
    (host, metric, value + n, NOON + timedelta(seconds=20 * n, microseconds=n))
    for host in HOSTS
    for metric in ("core/0", "@SUM(1)")
    for n, value in enumerate((0.1, -21.5, 1e-300, 1 / 3, 200.0, -0.0))
]


@pytest.fixture
def environment(database_url: str, workspace: Workspace) -> dict[str, str]:
    """Of a database with readings and their aggregates."""
    environment = workspace.environment(NOWHERE, database_url)
    store(database_url, READINGS)
    command(environment, "rebuild")
    return environment


@pytest.fixture
def other(tmp_path: Path, workspace: Workspace) -> dict[str, str]:
    """Of an empty database, without tables."""
    return workspace.environment(NOWHERE, f"sqlite:///{tmp_path / 'other.sqlite3'}")


def command(environment: dict[str, str], *arguments: str, code: int = 0) -> str:
    done = run_command(environment, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def rows(environment: dict[str, str], table: str) -> Rows:
    """All rows; ids and times as text, in which databases differ."""
    found = query(environment["SPARKLE_DATABASE__URL"], f"SELECT * FROM {table}")
    return sorted([{name: plain(value) for name, value in row.items()} for row in found], key=str)


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        value = value.astimezone(UTC) if value.tzinfo else value
        return value.isoformat(" ", "microseconds").removesuffix("+00:00")
    if isinstance(value, bool | float | int):
        return value + 0
    if isinstance(value, bytes):
        return value.hex()
    return str(value).replace("-", "") if len(str(value)) == 36 else value


@EVERY_DATABASE
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_import_stores_what_was_exported_and_nothing_twice(
    environment: dict[str, str], other: dict[str, str], tmp_path: Path, suffix: str
) -> None:
    files = {what: str(tmp_path / f"{what}.{suffix}") for what in ("readings", "aggregates")}
    expected = {what: len(rows(environment, f"temperature_{what}")) for what in files}
    assert expected == {"readings": len(READINGS), "aggregates": len(HOSTS) * 2 * 2}
    for what, file in files.items():
        done = command(environment, "export", "Temperature", "--what", what, "--output", file)
        assert done == f"Temperature: {expected[what]} {what} written to {file}\n"
    hint = "run `faust -A sparkle_app rebuild --plugin Temperature` to aggregate the imported readings"
    for inserted in (True, False):
        report = json.loads(command(other, "import", "Temperature", *files.values(), "--json"))
        assert report == [
            {
                "file": file,
                "what": what,
                "read": expected[what],
                "inserted": expected[what] * inserted,
                "known": expected[what] * (not inserted),
                "expired": 0,
                "hint": hint if what == "readings" else None,
            }
            for what, file in files.items()
        ]
        for what in files:
            assert rows(other, f"temperature_{what}") == rows(environment, f"temperature_{what}")
    assert "0 differences" in command(other, "verify", "--plugin", "Temperature")
    # In the order of hostnames and times, so an export of the same rows is the same file.
    again = str(tmp_path / f"again.{suffix}")
    command(other, "export", "Temperature", "--output", again)
    if suffix == "csv":
        assert Path(again).read_bytes() == Path(files["readings"]).read_bytes()
        with open(tmp_path / "standard output", "w+b") as output:
            piped = run_program(faust("export", "Temperature"), other, PROJECT, output=output)
            assert (piped.returncode, piped.stderr) == (0, "")
            output.seek(0)
            assert output.read() == Path(again).read_bytes()
    else:
        assert pq.read_table(again).equals(pq.read_table(files["readings"]))


def test_an_import_says_what_aggregates_the_readings(
    environment: dict[str, str], other: dict[str, str], tmp_path: Path
) -> None:
    file = str(tmp_path / "readings.csv")
    command(environment, "export", "Temperature", "--output", file)
    done = command(other, "import", "Temperature", file)
    assert f"{file}: {len(READINGS)} readings read, {len(READINGS)} inserted, 0 known\n" in done
    assert "run `faust -A sparkle_app rebuild --plugin Temperature`" in done
    command(other, "rebuild", "--plugin", "Temperature")
    assert rows(other, "temperature_aggregates") == rows(environment, "temperature_aggregates")
    # Nobody knows whether it was run.
    assert "rebuild" in command(other, "import", "Temperature", file)


def test_only_the_selected_rows_are_exported(environment: dict[str, str]) -> None:
    def hosts(*options: str) -> list[str]:
        lines = command(environment, "export", "Temperature", *options).splitlines()
        return [line.split(",")[2] for line in lines[1:]]

    since, until = (NOON + timedelta(seconds=each) for each in (20, 60))
    scope = ("--host", "web-1", "--host", "+ядро", "--host", "web-1")
    assert hosts(*scope) == ["'+ядро"] * 12 + ["web-1"] * 12
    # The start is inclusive, the end exclusive: readings at 20.000001 and 40.000002 s.
    assert hosts(*scope, "--since", since.isoformat(), "--until", until.isoformat()) == [
        *["'+ядро"] * 4,
        *["web-1"] * 4,
    ]
    lines = command(
        environment,
        "export",
        "Temperature",
        "--what",
        "aggregates",
        "--host",
        "web-1",
        "--until",
        "2026-11-24",
    ).splitlines()
    assert [line.split(",")[:4] for line in lines[1:]] == [
        ["web-1", metric, "60", f"2026-11-23T12:0{minute}:00.000000Z"]
        for metric in ("'@SUM(1)", "core/0")
        for minute in range(2)
    ]
    nothing = command(environment, "export", "Temperature", "--what", "aggregates", "--resolution", "300")
    assert len(nothing.splitlines()) == 1
    assert len(command(environment, "export", "Temperature", "--until", "2026-11-01").splitlines()) == 1


def test_an_export_says_what_has_expired_and_an_import_does_not_store_it(
    environment: dict[str, str], other: dict[str, str], tmp_path: Path
) -> None:
    file = str(tmp_path / "readings.csv")
    assert run_command(environment, "export", "Temperature", "--output", file).stderr == ""
    for each in (environment, other):
        command(each, "migrate")
        engine = make_engine(make_url(each["SPARKLE_DATABASE__URL"]))
        with engine.begin() as connection:
            begin(connection, "Temperature", 60)
        advance(engine, "Temperature", 0, kept_since=micros(NOON + timedelta(seconds=40)))
        engine.dispose()
    done = run_command(environment, "export", "Temperature", "--output", str(tmp_path / "again.csv"))
    assert done.stderr == (
        "Temperature: readings are kept since 2026-11-23T12:00:40Z; earlier ones have expired\n"
    )
    scope = ("--since", (NOON + timedelta(seconds=40)).isoformat())
    assert run_command(environment, "export", "Temperature", *scope).stderr == ""
    assert run_command(environment, "export", "Temperature", "--what", "aggregates").stderr == ""
    kept = sum(at >= NOON + timedelta(seconds=40) for *_, at in READINGS)
    done = run_command(other, "import", "Temperature", file)
    assert (
        f"{file}: {len(READINGS)} readings read, {kept} inserted, 0 known,"
        f" {len(READINGS) - kept} not stored: older than the retention period\n"
    ) in done.stdout
    (report,) = json.loads(command(other, "import", "Temperature", file, "--json"))
    assert (report["known"], report["expired"]) == (kept, len(READINGS) - kept)


def test_wrong_usage_is_one_line_and_changes_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    existing = tmp_path / "existing.csv"
    existing.write_text("mine")
    for arguments, expected in {
        ("Nonsense",): "PLUGIN: expected one of PU_Workload, Temperature",
        ("Temperature", "--host", "nobody"): "--host: expected a host with readings of Temperature",
        (
            "Temperature",
            "--host",
            "nobody",
            "--what",
            "aggregates",
        ): "--host: expected a host with aggregates",
        ("Temperature", "--output", str(existing)): "--output: expected a new file",
        ("Temperature", "--format", "parquet"): "--output: expected a file, because of --format parquet",
        ("Temperature", "--json"): "--output: expected a file, because of --json",
        ("Temperature", "--since", "2026-11-24", "--until", "2026-11-23"): "--until: expected a time after",
    }.items():
        error = command(environment, "export", *arguments, code=2)
        assert error.startswith(expected)
        assert error.count("\n") == 1
    assert existing.read_text() == "mine"
    for file, expected in {
        tmp_path / "none.csv": "none.csv: expected a file",
        tmp_path: "expected a file",
    }.items():
        error = command(environment, "import", "Temperature", str(file), code=1)
        assert expected in error
        assert error.count("\n") == 1
    missing = command(
        environment, "export", "Temperature", "--output", str(tmp_path / "no/folder.csv"), code=1
    )
    assert "No such file or directory" in missing


def test_rows_before_a_wrong_one_are_stored_once(
    environment: dict[str, str], other: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "readings.csv"
    command(environment, "export", "Temperature", "--output", str(file))
    right = file.read_bytes()
    file.write_bytes(right.replace(b",true,t,0,", b",perhaps,t,0,", 3).replace(b",perhaps,", b",true,", 2))
    error = command(other, "import", "Temperature", str(file), code=1)
    assert error.startswith(f"{file}, line ")
    assert "column clock_trusted: expected true or false, found 'perhaps'" in error
    assert error.count("\n") == 1
    file.write_bytes(right)
    command(other, "import", "Temperature", str(file))
    assert rows(other, "temperature_readings") == rows(environment, "temperature_readings")


def test_a_reader_that_closes_the_pipe_and_a_full_disk_end_the_export(environment: dict[str, str]) -> None:
    done = read_one_line(environment, "export", "Temperature")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("id,config_id,hostname,")
    with open("/dev/full", "wb") as full:
        failed = run_program(faust("export", "Temperature"), environment, PROJECT, output=full)
    assert failed.returncode == 2
    assert failed.stderr == (
        "standard output: expected a file to write to, found No space left on device;"
        " free disk space, or choose another\n"
    )


def test_a_terminal_gets_no_control_characters(environment: dict[str, str], database_url: str) -> None:
    store(database_url, [("\x1b[31mred", "k", 1.0, NOON)])
    controller, terminal = os.openpty()
    arguments = faust("export", "Temperature", "--host", "\x1b[31mred")
    with os.fdopen(controller, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            arguments, env=environment, cwd=PROJECT, stdin=terminal, stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        output = b""
        # Reading fails when the process has closed the terminal.
        with contextlib.suppress(OSError):
            while data := screen.read(4096):
                output += data
        assert process.wait(60) == 0
    assert b"\x1b" not in output
    assert b",\\x1b[31mred,k,1.0," in output


@contextlib.contextmanager
def exporting(environment: dict[str, str], file: Path) -> Iterator[Process]:
    """An export of many readings that has written a part of its file."""
    url = environment["SPARKLE_DATABASE__URL"]
    many = [("many", f"m{n % 16}", 20.0, NOON + timedelta(milliseconds=n)) for n in range(60_000)]
    store(url, many)
    process = command_process(
        environment, file.with_name("log"), "export", "Temperature", "--output", str(file)
    )
    process.start()

    def begun() -> bool:
        drafts = [each.stat().st_size for each in file.parent.glob(f".{file.name}.*")]
        # Parquet is written in large groups of rows.
        return bool(drafts) and (drafts[0] > 0 or file.suffix == ".parquet")

    process.wait_until(begun, "a part of the file", 60)
    yield process


@pytest.mark.parametrize(
    ("suffix", "number"), [("csv", signal.SIGINT), ("csv", signal.SIGKILL), ("parquet", signal.SIGINT)]
)
def test_an_interrupted_export_leaves_no_file_under_the_name(
    environment: dict[str, str], tmp_path: Path, suffix: str, number: signal.Signals
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    file = folder / f"readings.{suffix}"
    with exporting(environment, file) as process:
        process.send_only(number)
        process.wait(30)
    assert not file.exists()
    if number == signal.SIGINT:
        assert sorted(each.name for each in folder.iterdir()) == ["log"]
        # And it can be run again.
        command(environment, "export", "Temperature", "--output", str(file))
        assert file.exists()
