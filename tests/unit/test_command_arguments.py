"""What commands refuse before they use a database or the broker, and what they say of an unexpected error."""

import io
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from sparkle_app.cli import move_target
from sparkle_app.cli.base import UsageError
from sparkle_app.cli.options import CONFIG_ID, TEXT
from tests.support.processes import run_program
from tests.support.worker import PROJECT
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


@pytest.mark.parametrize("option", ["--yes", "--dry-run"])
def test_options_of_renaming_hosts_are_refused_without_it(tmp_path: Path, option: str) -> None:
    done = run(tmp_path, SPARKLE, "hosts", "--remove", "web-1", option)
    assert (done.returncode, done.stderr) == (
        2,
        f"{option}: expected rename OLD NEW or merge OLD NEW with this option, found neither; see hosts --help\n",
    )


@pytest.mark.parametrize("text", ["a\0b", "\0", "\udcff"])
def test_a_text_that_cannot_be_stored_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected UTF-8 without NUL characters, found"):
        TEXT.convert(text, None, None)
    assert TEXT.convert("ядро 😀", None, None) == "ядро 😀"


@pytest.mark.parametrize("command", ["capacity --hosts 10", "export Temperature"])
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path, command: str) -> None:
    made = run(tmp_path, SPARKLE, "migrate")
    assert made.returncode == 0, made.stderr
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPARKLE_")}
    environment = {**kept, "PYTHONPATH": str(PROJECT)}
    with open("/dev/full", "wb") as full:
        done = run_program([*SPARKLE, *command.split()], environment, tmp_path, output=full)
    assert (done.returncode, done.stderr) == (
        2,
        "standard output: expected a file to write to, found No space left on device;"
        " free disk space, or choose another\n",
    )
    done = run(tmp_path, ["sh", "-c", 'exec "$@" >&-', "sh"], *SPARKLE, "export", "Temperature")
    assert (done.returncode, done.stderr) == (
        2,
        "standard output: expected an open file, found a closed one; add --output FILE\n",
    )


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    run(tmp_path, SPARKLE, "migrate")
    name = 300 * "x"
    done = run(tmp_path, SPARKLE, "export", "Temperature", "--output", name)
    assert (done.returncode, done.stderr) == (
        1,
        f"{name}: expected a file to write to, found File name too long; free disk space, or choose another\n",
    )


def test_a_config_id_fits_into_its_column() -> None:
    for number in (2**63, -(2**63) - 1):
        with pytest.raises(click.BadParameter):
            CONFIG_ID.convert(str(number), None, None)
    assert CONFIG_ID.convert(str(2**63 - 1), None, None) == 2**63 - 1


REFUSED = (
    "expected UTF-8 without NUL characters, found other characters;"
    " percent-encode them in the user name and the password"
)


def test_a_url_with_invalid_characters_is_not_quoted(tmp_path: Path) -> None:
    done = run(tmp_path, SPARKLE, "move", "--to", "postgresql://u:p\udce9Secret1@h/db")
    assert (done.returncode, done.stderr) == (2, f"--to: {REFUSED}\n")


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_url_from_standard_input_is_not_quoted(tmp_path: Path, errors: str) -> None:
    # The second is the default in the locale C.
    environment = {"PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": f"utf-8:{errors}"}
    given = b"postgresql://u:p\xe9Secret1@h/db\n"
    command = [*SPARKLE, "move", "--to", "-"]
    done = subprocess.run(
        command, check=False, input=given, env=environment, cwd=tmp_path, capture_output=True
    )
    text = done.stderr.decode()
    assert done.returncode == 2, text
    assert len(text.splitlines()) == 1, text
    assert "found other characters; percent-encode" in text
    assert "ecret" not in text


def test_a_prompt_without_an_answer_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def end(_prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr(move_target, "getpass", end)
    for standard_input in (Terminal(), io.StringIO("")):
        monkeypatch.setattr(sys, "stdin", standard_input)
        with pytest.raises(
            UsageError, match=r"standard input: expected the URL of .*, found nothing; enter it"
        ):
            move_target.target_url(move_target.Secret().convert("-", None, None))


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_error_is_one_line_without_its_text(tmp_path: Path, debug: bool) -> None:
    program = (
        "from sparkle_app.cli import capacity, sparkle\n"
        "capacity.figures = lambda: int('Secret1')\n"
        "sparkle.main()"
    )
    options = ["--debug"] if debug else []
    done = run(tmp_path, [sys.executable, "-c", program], *options, "capacity", "--hosts", "1")
    assert done.returncode == 1
    assert "Secret1" not in done.stderr
    *trace, line = done.stderr.splitlines()
    assert re.match(r"capacity: internal error: ValueError in sparkle_app/cli/capacity\.py:\d+; ", line)
    assert ("in <lambda>" in "".join(trace)) == debug
    assert bool(trace) == debug
