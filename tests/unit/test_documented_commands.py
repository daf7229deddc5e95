"""Commands in pages, help, messages and comments exist, and have the options that are written with them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from faust.cli.base import cli

from sparkle_app.cli import add_commands, gen_config

PROJECT = Path(__file__).parents[2]
PATTERNS = (
    "*.md",
    "docs/**/*.md",
    "docs/*.yaml",
    "plugins/*/README.md",
    "docker-compose.yaml",
    "demo/*.py",
    "sparkle_app/**/*.py",
    "sparkle_app/**/*.js",
)
# The changelog also names options of earlier versions.
FILES = sorted({each for pattern in PATTERNS for each in PROJECT.glob(pattern)} - {PROJECT / "CHANGELOG.md"})
_COMMAND = re.compile(r"(?:faust -A sparkle_app (?=[a-z])|python (gen_config)\.py\b)([^`'\"\n|>#;(]*)")
_SPAN = re.compile(r"`([a-z]+(?:-[a-z]+)*) ([^`]*--[^`]*)`")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def test_commands_exist_and_have_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    add_commands()
    options = {
        name: {option for each in command.params for option in each.opts} | {"--help"}
        for name, command in cli.commands.items()
    }
    # It parses its arguments itself.
    with pytest.raises(SystemExit):
        gen_config.main(["--help"])
    options["gen-config"] = set(_OPTION.findall(capsys.readouterr().out))
    seen = set()
    for path in FILES:
        for name, arguments in _named(path.read_text("utf-8"), set(options)):
            where = f"{path.relative_to(PROJECT)}: {name}{arguments}"
            assert name in options, f"{where}: no such command"
            assert set(_OPTION.findall(arguments)) <= options[name], f"{where}: no such option"
            seen.add(name)
    ours = {
        name
        for name, command in cli.commands.items()
        if command.callback.__module__.startswith("sparkle_app.")
    }
    assert not ours - seen, "commands that nothing names, or that are not recognized"


def _named(text: str, names: set[str]) -> Iterator[tuple[str, str]]:
    """Commands, and what follows their names."""
    for script, command in _COMMAND.findall(text):
        name, _, arguments = command.strip().partition(" ")
        yield ("gen-config", command) if script else (name, arguments)
    for name, arguments in _SPAN.findall(text):
        if name in names:
            yield name, arguments
