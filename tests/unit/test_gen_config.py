"""gen_config.py as people and scripts use it."""

import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

PROJECT = Path(__file__).parents[2]
COMMAND = [sys.executable, str(PROJECT / "gen_config.py")]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SPARKLE_", "LC_", "LANG"))
    }
    return {**kept, "SPARKLE_CERTS": str(tmp_path / "certs"), "PYTHONUTF8": "1"}


def run(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_with_options_it_asks_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    done = run(
        environment,
        *(
            "--plugins",
            "Temperature,PU_Workload",
            "--address",
            "127.0.0.1",
            "--port",
            "9092",
            "--interval",
            "300",
        ),
        *("--id", "7", "--output", str(tmp_path / "out"), "--yes"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert files(tmp_path) == ["certs/rsa_key_7", "out/config.tar.xz"]
    assert f"Made {tmp_path}/out/config.tar.xz" in done.stdout
    assert f"Keep {tmp_path}/certs/rsa_key_7 secret and back it up" in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ([], 2, "expected options, --yes among them"),
        (
            ["--plugins", "Fans", "--address", "x", "--yes"],
            2,
            "found 'Fans'; there are: PU_Workload, Temperature",
        ),
        (
            ["--plugins", "1", "--address", "x", "--port", "0", "--yes"],
            1,
            "port: expected 1 to 65535, found 0",
        ),
        (["--port", "http"], 2, "invalid int value"),
    ],
)
def test_a_wrong_option_is_one_clear_line(
    environment: dict[str, str], tmp_path: Path, options: list[str], code: int, says: str
) -> None:
    done = run(environment, *options)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert files(tmp_path) == []


def test_it_asks_at_a_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    terminal = pexpect.spawn(
        COMMAND[0], COMMAND[1:], env=environment, encoding="utf-8", timeout=20, cwd=tmp_path
    )
    terminal.expect(r"1\. PU_Workload 1\.0\.0  Load")
    terminal.expect(r"Plugins, by number or name.*\[PU_Workload,Temperature\]: ")
    terminal.sendline("3")
    terminal.expect("expected a plugin's number or name, found '3'")
    terminal.sendline("2")
    terminal.expect(r"Address of the broker.*\[127\.0\.0\.1\]: ")
    terminal.sendline("kafka.example.org:9092")
    terminal.expect("expected a name or address without a port, found 'kafka.example.org:9092'")
    terminal.sendline("kafka.example.org")
    terminal.expect(r"Port of the broker \[9092\]: ")
    terminal.sendline("many")
    terminal.expect("expected a whole number from 1 to 65535, found 'many'")
    terminal.sendline("")
    terminal.expect(r"Seconds between two collections \[300\]: ")
    terminal.sendline("60")
    terminal.expect(r"Number \(id\) of this config \[1\]: ")
    terminal.sendline("12")
    terminal.expect(r"Folder for config.tar.xz \[\.\]: ")
    terminal.sendline("")
    terminal.expect("collects Temperature every 60 s, sends to kafka.example.org:9092")
    terminal.expect(r"Write it\? \[Y/n\]: ")
    terminal.sendline("y")
    terminal.expect("Next: copy it into the collector's folder")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert files(tmp_path) == ["certs/rsa_key_12", "config.tar.xz"]


def test_it_speaks_russian_where_the_locale_does(environment: dict[str, str], tmp_path: Path) -> None:
    environment["LANG"] = "ru_RU.UTF-8"
    terminal = pexpect.spawn(
        COMMAND[0], COMMAND[1:], env=environment, encoding="utf-8", timeout=20, cwd=tmp_path
    )
    for question in ("Плагины: номера", "Адрес брокера", "Порт брокера", "Секунд между", "Номер", "Папка"):
        terminal.expect(question)
        terminal.sendline("")
    terminal.expect("Будет записано:")
    terminal.expect("Записать")
    terminal.sendline("н")
    terminal.expect("Ничего не записано")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 1
    assert files(tmp_path) == []


def test_ctrl_c_leaves_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    terminal = pexpect.spawn(
        COMMAND[0], COMMAND[1:], env=environment, encoding="utf-8", timeout=20, cwd=tmp_path
    )
    terminal.expect("Address of the broker|Plugins, by number")
    terminal.sendintr()
    terminal.expect("Nothing was written")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert files(tmp_path) == []
