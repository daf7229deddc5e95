"""Fills databases, moves them with the command `move`, and compares them."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from tests.support.database import Rows, query
from tests.support.package_rows import PackageReading, store_through_packages
from tests.support.worker import Workspace, run_command

NOWHERE = "127.0.0.1:1"
"""The broker's address: the command does not connect to it."""
NOON = 1_795_435_200


def rows(url: str, table: str) -> Rows:
    """All rows; ids and times as text, in which databases differ."""
    found = query(url, f"SELECT * FROM {table}")
    return sorted([{name: plain(value) for name, value in row.items()} for row in found], key=str)


def plain(value: Any) -> Any:
    """A value as all databases have it."""
    if isinstance(value, str):
        # Drivers of some databases return JSON as it is stored.
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")
    if isinstance(value, bool | float | int):
        return value + 0
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str) and value[4:5] == "-" and value[10:11] == " ":
        return f"{value}.000000"[:26]
    return str(value).replace("-", "") if len(str(value)) == 36 else value


def assert_same(source: str, target: str, tables: Sequence[str]) -> None:
    """Check that these tables have rows, and the same ones in both databases."""
    for table in tables:
        expected = rows(source, table)
        assert expected, table
        assert rows(target, table) == expected, table


def move(environment: dict[str, str], target: str, *options: str, code: int = 0) -> str:
    """The output of the command, which ends with this exit code."""
    done = run_command(environment, "move", "--to", target, *options, seconds=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code == 2 or not done.stdout else done.stdout


def fill(url: str, workspace: Workspace, readings: list[PackageReading]) -> dict[str, str]:
    """Store readings and aggregate them; returns the environment of a command."""
    environment = workspace.environment(NOWHERE, url)
    store_through_packages(url, workspace, readings)
    done = run_command(environment, "rebuild")
    assert done.returncode == 0, done.stdout + done.stderr
    return environment
