"""gen_config.py, interactively and in scripts."""

import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pexpect
import pytest
import yaml

from sparkle_app.cli.messages import messages
from sparkle_app.cli.prompts import choose_plugins
from sparkle_app.plugin.manifest import Manifest
from tests.support.interrupted_link import INTERRUPTED_LINK

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


def test_with_options_and_yes_there_are_no_prompts(environment: dict[str, str], tmp_path: Path) -> None:
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
    assert done.returncode == 0
    assert done.stderr == (
        "warning: 127.0.0.1 is this machine; collectors on other hosts cannot reach a broker at this address\n"
    )
    assert files(tmp_path) == ["certs/rsa_key_7", "out/config.tar.xz"]
    assert f"Created {tmp_path}/out/config.tar.xz" in done.stdout
    assert f"Keep {tmp_path}/certs/rsa_key_7 secret and back it up" in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "standard input: expected a terminal, found none; use options and --yes"),
        (
            ["--plugins", "Fans", "--address", "x", "--yes"],
            2,
            "found 'Fans'; installed: PU_Workload, Temperature",
        ),
        (
            ["--plugins", "1", "--address", "x", "--port", "0", "--yes"],
            2,
            "port: expected 1 to 65535, found 0",
        ),
        (["--port", "http"], 2, "invalid int value"),
        # An empty shell variable must not select the default.
        (["--plugins", "", "--yes"], 2, "expected the number or name of an installed plugin, found ''"),
        (["--interval", "0", "--yes"], 2, "interval: expected 1 second or more, found 0"),
        (["--id", "-1", "--yes"], 2, "id: expected 0 to"),
        (
            ["--address", "", "--yes"],
            2,
            "address: expected a hostname or IP address without a port, found ''",
        ),
        (["--plugins-dir", "nowhere", "--yes"], 1, "nowhere: expected a folder of plugins"),
    ],
)
def test_an_invalid_option_is_one_clear_line(
    environment: dict[str, str], tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    done = run(environment, *options)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "address", "port"),
    [
        ("kafka.example.org:9094,other:9092", "kafka.example.org", 9094),
        ("[2001:db8::1]:9092", "2001:db8::1", 9092),
    ],
)
def test_the_default_address_is_the_first_broker_of_the_settings(
    environment: dict[str, str], tmp_path: Path, url: str, address: str, port: int
) -> None:
    environment["SPARKLE_BROKER__URL"] = url
    done = run(environment, "--output", str(tmp_path), "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    with tarfile.open(tmp_path / "config.tar.xz") as archive:
        member = archive.extractfile("config.yaml")
        assert member
        config = yaml.safe_load(member)
    assert (config["mq_server_address"], config["mq_server_port"]) == (address, port)


def test_folders_created_before_an_error_are_removed_again(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "rsa_key_7").write_text("somebody else's")
    done = run(environment, "--id", "7", "--output", str(tmp_path / "new" / "out"), "--yes")
    assert done.returncode == 1
    assert "rsa_key_7: expected no key with this id, found one, which is never overwritten" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["certs"]


def test_options_override_the_folders_of_the_settings(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "fans"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "manifest.py").write_text('NAME = "Fans"\nVERSION = "1.0.0"\nAUTHOR = "me"\n')
    done = run(
        environment,
        *("--plugins-dir", str(folder.parent), "--certs", str(tmp_path / "keys")),
        *("--output", str(tmp_path / "out"), "--id", "0", "--address", "kafka.example.org", "--yes"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "keys" / "rsa_key_0").exists()
    assert not (tmp_path / "certs").exists()
    with tarfile.open(tmp_path / "out" / "config.tar.xz") as archive:
        assert "plugins/fans/manifest.py" in archive.getnames()


def test_a_broken_plugin_is_reported_and_cannot_be_chosen(
    environment: dict[str, str], tmp_path: Path
) -> None:
    for name, manifest in (("fans", 'NAME = "Fans"\nVERSION = "1"\nAUTHOR = "me"\n'), ("broken", "1 / 0")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "__init__.py").touch()
        (tmp_path / "mine" / name / "manifest.py").write_text(manifest)
    environment["SPARKLE_PLUGINS"] = str(tmp_path / "mine")
    done = run(environment, "--plugins", "broken", "--output", str(tmp_path / "out"), "--yes")
    assert done.returncode == 2
    broken, message = done.stderr.splitlines()
    assert broken.startswith("plugin broken (")
    assert "ZeroDivisionError" in broken
    assert message == "expected the number or name of an installed plugin, found 'broken'; installed: Fans"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("Fans, rear", ["Fans, rear"]),
        ("fans,Fans, rear ,2", ["fans", "Fans, rear", "Fans"]),
        ("Fans,rear", ["Fans", "rear"]),
        ("REAR,4,,fAnS", ["rear", "fans"]),
        (" Fans, rear,", ["Fans, rear"]),
        ("fans, REAR", ["Fans, rear"]),
    ],
)
def test_a_name_may_have_commas_and_differ_only_in_case(text: str, chosen: list[str]) -> None:
    names = ["Fans, rear", "Fans", "fans", "rear"]
    installed = [Manifest(Path(name), name, "1", "me", "telemetry", "") for name in names]
    assert [each.name for each in choose_plugins(text, installed, messages())] == chosen


def test_characters_that_the_terminal_cannot_encode_are_replaced(environment: dict[str, str]) -> None:
    del environment["PYTHONUTF8"]
    done = run({**environment, "PYTHONIOENCODING": "ascii", "LANG": "ru_RU"}, "--list")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Temperature 1.1.0  Temperatures of the machine's sensors and GPUs, in ?C" in done.stdout


def test_with_any_option_there_is_only_the_confirmation(environment: dict[str, str], tmp_path: Path) -> None:
    terminal = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], "--id", "0"], env=environment, encoding="utf-8", timeout=20, cwd=tmp_path
    )
    assert terminal.expect([r"Continue\? ", r"Plugins, by number"]) == 0
    terminal.sendline("n")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert files(tmp_path) == []


def test_without_options_it_prompts_for_each_value(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "rsa_key_7").write_text("somebody else's")
    terminal = pexpect.spawn(
        COMMAND[0], COMMAND[1:], env=environment, encoding="utf-8", timeout=20, cwd=tmp_path
    )
    terminal.expect(r"1\. PU_Workload 1\.1\.0  Load")
    terminal.expect(r"Plugins, by number or name.*\[PU_Workload,Temperature\]: ")
    terminal.sendline(",")
    terminal.expect("expected the number or name of an installed plugin, found ','")
    terminal.sendline("3")
    terminal.expect("expected the number or name of an installed plugin, found '3'")
    terminal.sendline("2")
    terminal.expect(r"Broker address.*\[127\.0\.0\.1\]: ")
    terminal.sendline("kafka.example.org:9092")
    terminal.expect("expected a hostname or IP address without a port, found 'kafka.example.org:9092'")
    terminal.sendline("kafka.example.org")
    terminal.expect(r"Broker port \[9092\]: ")
    terminal.sendline("many")
    terminal.expect("expected a whole number from 1 to 65535, found 'many'")
    terminal.sendline("")
    terminal.expect(r"Collection interval in seconds \[300\]: ")
    terminal.sendline("60")
    terminal.expect(r"Config id \[8\]: ")
    terminal.sendline("7")
    terminal.expect("rsa_key_7 already exists and is never overwritten: choose another id")
    terminal.sendline("12")
    terminal.expect(r"Folder for config.tar.xz \[\.\]: ")
    terminal.sendline("")
    terminal.expect("plugins Temperature, interval 60 s, broker kafka.example.org:9092")
    terminal.expect(r"Continue\? \[Y/n\]: ")
    terminal.sendline("y")
    terminal.expect("Next: copy it into the collector's folder")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert files(tmp_path) == ["certs/rsa_key_12", "certs/rsa_key_7", "config.tar.xz"]
    assert (tmp_path / "certs" / "rsa_key_7").read_text() == "somebody else's"


def test_with_a_russian_locale_the_messages_are_russian(environment: dict[str, str], tmp_path: Path) -> None:
    environment["LANG"] = "ru_RU.UTF-8"
    terminal = pexpect.spawn(
        COMMAND[0], COMMAND[1:], env=environment, encoding="utf-8", timeout=20, cwd=tmp_path
    )
    for prompt in (
        "Плагины, номера",
        "Адрес брокера",
        "Порт брокера",
        "Интервал сбора",
        "Номер конфигурации",
        "Каталог",
    ):
        terminal.expect(prompt)
        terminal.sendline("")
    terminal.expect("Будут записаны файлы:")
    terminal.expect("Продолжить")
    terminal.sendline("н")
    terminal.expect("Ничего не записано")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 1
    assert files(tmp_path) == []


INTERRUPTED = f"""{INTERRUPTED_LINK}
import sys
from sparkle_app.cli.gen_config import main

sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_is_too_late_once_the_files_are_published(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "--output", str(tmp_path), "--id", "7", "--yes"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing was written" not in done.stderr
    assert f"Created {tmp_path}/config.tar.xz" in done.stdout
    assert files(tmp_path) == ["certs/rsa_key_7", "config.tar.xz"]


@pytest.mark.parametrize("output", [">/dev/full", ">&-", "| true"])
def test_output_that_cannot_be_written_does_not_hide_what_was_written(
    environment: dict[str, str], tmp_path: Path, output: str
) -> None:
    script = f'{{ "$@"; echo "exit code $?" >&2; }} {output}'
    options = ("--output", str(tmp_path), "--address", "kafka", "--yes")
    done = subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND, *options],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    *created, code = done.stderr.splitlines()
    assert code == "exit code 0", done.stderr
    assert not created or created[0] == f"Created {tmp_path}/config.tar.xz"
    assert files(tmp_path) == ["certs/rsa_key_1", "config.tar.xz"]


def test_a_list_that_cannot_be_written_is_an_error(environment: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "--list"],
            env=environment,
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert done.returncode == 2
    assert b"Temperature" in done.stderr
    assert b"Error" not in done.stderr


@pytest.mark.parametrize("how", [None, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_and_signals_leave_no_files(
    environment: dict[str, str], tmp_path: Path, how: signal.Signals | None
) -> None:
    terminal = pexpect.spawn(
        COMMAND[0], COMMAND[1:], env=environment, encoding="utf-8", timeout=20, cwd=tmp_path
    )
    terminal.expect("Broker address|Plugins, by number")
    if how is None:
        terminal.sendintr()
    else:
        terminal.kill(how)
    terminal.expect("Nothing was written")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert files(tmp_path) == []
