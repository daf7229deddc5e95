"""An exception of a plugin's method is one line, which names the plugin, the type and the place, and never quotes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from sparkle_app.model.errors import TransientError
from sparkle_app.plugin.failures import PluginError, plugin_error
from sparkle_app.storage.engine import make_engine

FILE = "/srv/plugins/level/server.py"
ADVICE = "correct the plugin, and restart the workers"
SOURCE = """
def method(function):
    return function()
"""


def method_of_a_plugin() -> Callable[[Callable[[], Any]], Any]:
    """A function that calls its argument in line 3 of a plugin's module."""
    names: dict[str, Any] = {"__name__": "plugins.level.server"}
    exec(compile(SOURCE, FILE, "exec"), names)
    method: Callable[[Callable[[], Any]], Any] = names["method"]
    return method


def line_of(method: Callable[[], Any]) -> TransientError:
    try:
        method()
    except Exception as error:
        return plugin_error(error, "Level")
    raise AssertionError


def test_the_place_is_the_innermost_line_of_the_plugin() -> None:
    error = line_of(lambda: method_of_a_plugin()(lambda: dict[str, int]()["secret"]))
    assert isinstance(error, PluginError)
    assert str(error) == f"plugin Level: KeyError at {FILE}:3; {ADVICE}"


def test_without_a_line_of_the_plugin_the_place_is_the_innermost_one() -> None:
    error = str(line_of(lambda: int("secret")))
    assert error.startswith(f"plugin Level: ValueError at {__file__}:")
    assert error.endswith(f"; {ADVICE}")
    assert "secret" not in error


@pytest.mark.parametrize("in_plugin", [False, True])
def test_a_file_that_the_plugin_opens_is_not_the_database(in_plugin: bool) -> None:
    def read() -> None:
        os.stat("/nowhere/secret")

    call = method_of_a_plugin() if in_plugin else lambda function: function()
    error = line_of(lambda: call(read))
    assert isinstance(error, PluginError)
    assert str(error).startswith("plugin Level: FileNotFoundError at ")
    assert "secret" not in str(error)


@pytest.mark.parametrize("in_plugin", [False, True])
def test_an_error_of_the_database_remains_one(tmp_path: Path, in_plugin: bool) -> None:
    engine = make_engine(make_url(f"sqlite:///{tmp_path}/db.sqlite3"))

    def query() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1 FROM nowhere"))

    call = method_of_a_plugin() if in_plugin else lambda function: function()
    error = line_of(lambda: call(query))
    assert not isinstance(error, PluginError)
    assert str(error) == "database: no such table: nowhere"


def test_a_driver_that_loses_the_connection_is_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(make_url(f"sqlite:///{tmp_path}/db.sqlite3"))

    def lose(*_: Any) -> None:
        raise ConnectionResetError("reset")

    def query() -> None:
        with engine.connect() as connection:
            monkeypatch.setattr(engine.dialect, "do_execute", lose)
            connection.execute(text("SELECT 1"))

    error = line_of(lambda: method_of_a_plugin()(query))
    assert not isinstance(error, PluginError)
    assert str(error) == "database: reset"
