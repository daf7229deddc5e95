"""A query that fails because of the database is status 503; other errors are not hidden behind it."""

import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sparkle_app.storage.errors import is_of_database
from sparkle_app.web.api import recount, series_query
from tests.support.cluster import PLUGIN, InProcessWorker

HOST = f"/api/v1/plugins/{PLUGIN}/hosts/a"


class DatabaseError(Exception):
    """As a driver that is not known names its errors."""


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[InProcessWorker]:
    async with InProcessWorker(tmp_path / "a") as worker:
        yield worker


@pytest.mark.parametrize("path", ["/series", "/recount"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyError("of a plugin"), 500),
        (TypeError("of a plugin"), 500),
        (sqlite3.OperationalError("no such column"), 503),
        (OSError("no space"), 503),
        (TimeoutError("too slow"), 503),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_error_of_a_plugin_is_logged_and_no_reason_to_repeat_the_request(
    worker: InProcessWorker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
    error: Exception,
    status: int,
) -> None:
    def fail(*_: object) -> None:
        raise error

    for module in (series_query, recount):
        monkeypatch.setattr(module, "watermarks", fail)
    found, problem = await worker.get(HOST + path)
    assert found == status
    logged = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert [each.exc_info[1] for each in logged if each.exc_info] == ([error] if status == 500 else [])
    assert ("of a plugin" in problem["detail"], "database" in problem["detail"]) == (False, status == 503)


def test_errors_of_any_driver_are_of_the_database() -> None:
    assert is_of_database(DatabaseError())
    assert is_of_database(MemoryError())
    assert not is_of_database(ValueError())
