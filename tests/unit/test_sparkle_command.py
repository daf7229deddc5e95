"""The command ``sparkle``, and ``faust -A sparkle_app``, in folders outside the checkout."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sparkle_app
from tests.support.processes import run_program
from tests.support.worker import PROJECT

SPARKLE = [sys.executable, "-c", "from sparkle_app.cli.sparkle import main; main()"]
FAUST = [sys.executable, "-m", "faust", "-A", "sparkle_app"]


def run(
    folder: Path, command: list[str], *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPARKLE_")}
    return run_program([*command, *arguments], {**kept, "PYTHONPATH": str(PROJECT), **settings}, folder)


def settings_of(checked: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The settings, and the file that they come from as ``file``, in the output of ``check --json``."""
    results = {each["what"]: each["text"] for each in json.loads(checked.stdout)}
    settings = dict(each.split("=", 1) for each in results["settings"].split(" "))
    return {**settings, "file": results["settings file"]}


def test_version_is_printed(tmp_path: Path) -> None:
    done = run(tmp_path, SPARKLE, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sparkle {sparkle_app.__version__}\n", "")


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_lists_the_commands_even_with_invalid_settings(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "settings.yaml").write_text("nonsense")
    done = run(tmp_path, SPARKLE, *arguments)
    text = done.stdout if arguments else done.stderr
    assert done.returncode == (0 if arguments else 2)
    assert text.startswith("Usage: sparkle [OPTIONS] COMMAND")
    assert "--settings FILE" in text
    assert "--app" not in text
    ours, _, others = text.partition("\nCommands:\n")[2].partition("\nCommands of Faust:\n")
    names = [line.split()[0] for line in ours.splitlines() if line[2:3].strip()]
    assert names == [
        "capacity",
        "check",
        "dead-letters",
        "export",
        "gen-config",
        "hosts",
        "import",
        "migrate",
        "move",
        "rebuild",
        "replay",
        "reset-offsets",
        "retain",
        "try-plugin",
        "verify",
        "worker",
    ]
    assert "  tables " in others


@pytest.mark.parametrize("command", [SPARKLE, FAUST], ids=["sparkle", "faust"])
def test_help_names_the_settings_that_are_the_defaults(tmp_path: Path, command: list[str]) -> None:
    for arguments in (["worker", "--help"], ["--help"]):
        text = " ".join(run(tmp_path, command, *arguments).stdout.split())
        assert "Level of the log, also of the libraries; default: the setting log_level" in text
        assert not re.search("WARN|6066|0\\.0\\.0\\.0|conf\\.name|--datadir", text)
    program = "sparkle gen-config" if command is SPARKLE else "faust -A sparkle_app gen-config"
    assert f"{program} [-h]" in run(tmp_path, command, "gen-config", "--help").stdout


@pytest.mark.parametrize("command", [SPARKLE, FAUST], ids=["sparkle", "faust"])
def test_defaults_apply_in_an_empty_folder(tmp_path: Path, command: list[str]) -> None:
    settings = settings_of(run(tmp_path, command, "check", "--json"))
    assert settings["file"] == f"defaults, in {tmp_path}"
    assert settings["plugins"] == str(PROJECT / "plugins")
    assert settings["certs"] == str(tmp_path / "certs")
    assert settings["data"] == str(tmp_path / "data")
    assert settings["database.url"] == f"sqlite:///{tmp_path}/data/sparkle.sqlite3"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [SPARKLE, FAUST], ids=["sparkle", "faust"])
def test_settings_yaml_in_the_working_folder_is_read(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "settings.yaml").write_text("app_id: here\n")
    settings = settings_of(run(tmp_path, command, "check", "--json"))
    assert (settings["app_id"], settings["file"]) == ("here", str(tmp_path / "settings.yaml"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--settings", "{file}", "check", "--json"],
        ["check", "--settings", "{file}", "--json"],
        ["--json", "--settings={file}", "check"],
    ],
)
def test_the_settings_option_names_a_file(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "settings.yaml").write_text("app_id: here\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.yaml").write_text("app_id: there\n")
    arguments = [each.format(file="other/mine.yaml") for each in arguments]
    settings = settings_of(run(tmp_path, SPARKLE, *arguments, SPARKLE_SETTINGS="settings.yaml"))
    assert settings["app_id"] == "there"
    assert settings["certs"] == str(tmp_path / "other" / "certs")


def test_with_workdir_the_settings_option_is_relative_to_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("app_id: mine\n")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "settings.yaml").write_text("app_id: work\n")
    work = ["--workdir", "work"]
    assert settings_of(run(tmp_path, SPARKLE, *work, "check", "--json"))["app_id"] == "work"
    file = ["--settings", "mine.yaml"]
    for arguments in (["check", "--json", *file], [*file, "check", "--json"]):
        assert settings_of(run(tmp_path, SPARKLE, *work, *arguments))["app_id"] == "mine"


@pytest.mark.parametrize("name", ["check", "worker", "gen-config"])
def test_a_missing_settings_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    for command, arguments, settings in (
        (SPARKLE, ["--settings", "no.yaml", name], {}),
        (FAUST, [name], {"SPARKLE_SETTINGS": "no.yaml"}),
    ):
        done = run(tmp_path, command, *arguments, **settings)
        (line,) = done.stderr.splitlines()
        assert line.startswith(
            f"{tmp_path}/no.yaml: expected a settings file, found none; correct --settings"
        )
        assert (done.returncode, done.stdout) == (1, "")


def test_gen_config_works_the_same_in_three_ways(tmp_path: Path) -> None:
    script = [sys.executable, str(PROJECT / "gen_config.py")]
    listed = [
        run(tmp_path, *call, "--list") for call in ((SPARKLE, "gen-config"), (FAUST, "gen-config"), (script,))
    ]
    assert [(each.returncode, each.stderr) for each in listed] == [(0, "")] * 3
    assert len({each.stdout for each in listed}) == 1
    invalid = run(tmp_path, SPARKLE, "gen-config", "--port", "http")
    assert invalid.returncode == 2
    assert "sparkle gen-config: error: argument --port: invalid int value: 'http'" in invalid.stderr
    assert "usage: sparkle gen-config" in run(tmp_path, SPARKLE, "gen-config", "--help").stdout
    made = run(tmp_path, SPARKLE, "gen-config", "--address", "kafka.example.org", "--id", "3", "--yes")
    assert (made.returncode, made.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["certs", "config.tar.xz"]
    assert [path.name for path in (tmp_path / "certs").iterdir()] == ["rsa_key_3"]


def test_the_script_reads_the_settings_next_to_it_in_any_folder(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("plugins: nowhere\n")
    done = run(tmp_path, [sys.executable, str(PROJECT / "gen_config.py")], "--list")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "command", [["hosts"], ["reset-offsets"], ["move", "--to", "sqlite:///new/b.sqlite3"]]
)
def test_a_command_that_reads_creates_no_database(tmp_path: Path, command: list[str]) -> None:
    url = f"sqlite:///{tmp_path}/mistyped/a.sqlite3"
    for found in ("none", "none of its tables"):
        before = list(tmp_path.rglob("*"))
        done = run(tmp_path, SPARKLE, *command, SPARKLE_DATABASE__URL=url)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"database.url: expected a database at {url} that a worker has used, ")
        assert f", found {found}; correct the setting" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert list(tmp_path.rglob("*")) == before
        # As an earlier version created it.
        (tmp_path / "mistyped").mkdir(exist_ok=True)
        (tmp_path / "mistyped" / "a.sqlite3").touch()
