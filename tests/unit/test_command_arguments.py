"""What commands refuse before they use a database or the broker."""

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from sparkle_app.cli.base import CONFIG_ID, TEXT
from tests.unit.test_sparkle_command import SPARKLE, run

COMMANDS = (
    "hosts --config {n}",
    "hosts --remove {t}",
    "hosts rename {t} new",
    "verify --limit {n}",
    "export Temperature --host {t}",
    "dead-letters --topic {t}",
)
MODULES = (
    "capacity",
    "dead_letters",
    "export",
    "hosts",
    "import_command",
    "migrate",
    "move",
    "rebuild",
    "replay",
)
MORE = ("reset_offsets", "retain", "try_plugin", "verify", "check")


@pytest.mark.parametrize("module", [*MODULES, *MORE])
def test_every_argument_has_a_type_that_refuses_what_no_database_accepts(module: str) -> None:
    command = getattr(import_module(f"sparkle_app.cli.{module}"), module)

    def function() -> None: ...

    for declare in command.options:
        declare(function)
    for each in function.__click_params__:  # type: ignore[attr-defined]
        # The name of a file is any bytes.
        if each.name != "files":
            assert each.type is not click.STRING, each.name
        assert each.type is not click.INT, each.name
        if isinstance(each.type, click.IntRange):
            assert each.type.max is not None, each.name


@pytest.mark.parametrize("command", COMMANDS)
def test_what_no_database_accepts_is_a_usage_error(tmp_path: Path, command: str) -> None:
    arguments = command.format(n=2**63, t="web-\udcff").split(" ")
    done = run(tmp_path, SPARKLE, *arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if not re.match("Usage:|Try |$", line)]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("Error: Invalid value for ")


@pytest.mark.parametrize("text", ["a\0b", "\0", "\udcff"])
def test_a_text_that_cannot_be_stored_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected UTF-8 without NUL characters, found"):
        TEXT.convert(text, None, None)
    assert TEXT.convert("ядро 😀", None, None) == "ядро 😀"


def test_a_config_id_fits_into_its_column() -> None:
    for number in (2**63, -(2**63) - 1):
        with pytest.raises(click.BadParameter):
            CONFIG_ID.convert(str(number), None, None)
    assert CONFIG_ID.convert(str(2**63 - 1), None, None) == 2**63 - 1
