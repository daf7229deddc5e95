import os
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from Crypto.PublicKey import RSA

from demo.unpacking import unpack
from sparkle_app.collector_config import ConfigFiles, creation, make_config
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.manifest import Manifest, find_packages
from tests.support.collector import read_member
from tests.support.interrupted_link import INTERRUPTED_LINK

PLUGINS = find_packages(Path(__file__).parents[2] / "plugins").manifests


def make(folder: Path, output: str = "out", **changes: Any) -> ConfigFiles:
    options: dict[str, Any] = {
        "address": "172.16.0.2",
        "port": 9092,
        "interval": 300,
        "output": folder / output,
        "certs": folder / "certs",
    }
    return make_config(changes.pop("plugins", PLUGINS), **(options | changes))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_archive_has_the_members_that_a_collector_expects(tmp_path: Path) -> None:
    made = make(tmp_path, config_id=7)
    with tarfile.open(made.archive, "r:xz") as archive:
        members = {name: read_member(archive, name) for name in archive.getnames()}
        modes = {member.mode for member in archive}
    config = yaml.safe_load(members["config.yaml"])
    assert config == {
        "id": 7,
        "mq_server_address": "172.16.0.2",
        "mq_server_port": 9092,
        "send_data_interval": 300,
        "also_store_local": True,
        "required_plugins": ["PU_Workload", "Temperature"],
    }
    private, public = RSA.import_key(made.key.read_bytes()), RSA.import_key(members["rsa_key.pub"])
    assert private.has_private()
    assert not public.has_private()
    assert (private.n, private.e, private.size_in_bits()) == (public.n, public.e, 2048)
    assert b"PRIVATE" not in b"".join(members.values())
    for package in ("temperature", "pu_workload"):
        for name in ("__init__.py", "manifest.py", "main.py", "server.py", "requirements.txt"):
            assert (
                members[f"plugins/{package}/{name}"]
                == (PLUGINS[0].folder.parent / package / name).read_bytes()
            )
    assert modes == {0o644}


def test_only_the_owner_can_read_the_private_key(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert made.key.name == f"rsa_key_{made.config_id}"
    assert made.key.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_a_key_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    os.chown(tmp_path / "certs", 12345, 12346)
    made = make(tmp_path)
    status = made.key.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 12346, 0o600)
    assert made.archive.stat().st_uid == 0


def test_tests_and_temporary_files_are_not_archived(tmp_path: Path) -> None:
    folder = tmp_path / "fans"
    for name in (
        "__init__.py",
        "data/table.csv",
        "__pycache__/x.pyc",
        "tests/test_x.py",
        "test_y.py",
        ".hidden",
        "main.py~",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    plugin = Manifest(folder, "Fans", "1", "me", "telemetry", "")
    with tarfile.open(make(tmp_path, plugins=[plugin]).archive) as archive:
        names = [name for name in archive.getnames() if name.startswith("plugins/")]
    assert names == ["plugins/fans/__init__.py", "plugins/fans/data/table.csv"]


def test_concurrent_processes_get_different_free_ids(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "rsa_key_41").write_text("somebody else's")
    made: list[ConfigFiles] = []
    threads = [threading.Thread(target=lambda n=n: made.append(make(tmp_path, f"out-{n}"))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.config_id for each in made) == [42, 43, 44, 45]
    assert (tmp_path / "certs" / "rsa_key_41").read_text() == "somebody else's"


def test_an_id_after_the_highest_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "rsa_key_2147483647").write_text("somebody else's")
    with pytest.raises(creation.InvalidOptionError, match="id: expected 0 to 2147483647, found 2147483648"):
        make(tmp_path)
    assert files(tmp_path) == ["certs/rsa_key_2147483647"]


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    first = make(tmp_path, config_id=7)
    pem = first.key.read_bytes()
    with pytest.raises(
        ConfigurationError,
        match="rsa_key_7: expected no key with this id, found one",
    ):
        make(tmp_path, "elsewhere", config_id=7)
    assert first.key.read_bytes() == pem
    assert files(tmp_path) == ["certs/rsa_key_7", "out/config.tar.xz"]


def test_an_existing_archive_is_never_overwritten_and_no_key_is_written(tmp_path: Path) -> None:
    make(tmp_path, config_id=1)
    with pytest.raises(ConfigurationError, match=r"config\.tar\.xz: expected no file, found one"):
        make(tmp_path, config_id=2)
    assert files(tmp_path) == ["certs/rsa_key_1", "out/config.tar.xz"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(creation, "write_archive", fail)
    with pytest.raises((ConfigurationError, KeyboardInterrupt)):
        make(tmp_path)
    assert files(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from sparkle_app.collector_config import creation, make_config
from sparkle_app.plugin.manifest import find_packages

def kill(*_): os.kill(os.getpid(), signal.SIGKILL)

# Either while the archive is written, or when both drafts are complete and not yet linked.
setattr(creation, sys.argv[2], kill)
folder = Path(sys.argv[1])
plugins = find_packages(Path("plugins")).manifests
make_config(plugins, address="h", port=1, interval=1, output=folder, certs=folder, config_id=7)
"""


@pytest.mark.parametrize("when", ["write_archive", "_publish"])
def test_sigkill_leaves_neither_a_key_nor_an_archive(tmp_path: Path, when: str) -> None:
    project = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(tmp_path), when]
    assert subprocess.run(command, check=False, cwd=project, timeout=60).returncode == -signal.SIGKILL
    assert [name for name in files(tmp_path) if not name.startswith(".")] == []
    # The remaining drafts do not prevent the next attempt.
    made = make(tmp_path, ".", certs=tmp_path, config_id=7)
    assert made.key.exists()
    assert made.archive.exists()


INTERRUPTED = f"""{INTERRUPTED_LINK}
import sys
from pathlib import Path
from sparkle_app.collector_config import make_config
from sparkle_app.plugin.manifest import find_packages

signal.signal(signal.SIGINT, signal.default_int_handler)
folder = Path(sys.argv[1])
plugins = find_packages(Path("plugins")).manifests
make_config(plugins, address="h", port=1, interval=1, output=folder, certs=folder, config_id=7)
"""


def test_ctrl_c_between_the_two_links_waits_for_the_second(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    project = Path(__file__).parents[2]
    done = subprocess.run(command, check=False, cwd=project, timeout=60, capture_output=True, text=True)
    assert "KeyboardInterrupt" in done.stderr
    assert files(tmp_path) == ["config.tar.xz", "rsa_key_7"]


def test_stale_drafts_of_keys_are_removed(tmp_path: Path) -> None:
    made = make(tmp_path)
    old, new = (made.key.parent / f".rsa_key_9.{name}" for name in ("abcdefgh", "ijklmnop"))
    for path in (old, new):
        path.write_text("a key")
    os.utime(old, (1e9, 1e9))
    make(tmp_path, "second")
    assert (old.exists(), new.exists()) == (False, True)


def test_a_new_version_of_a_plugin_does_not_run_old_bytecode(tmp_path: Path) -> None:
    host, folder = tmp_path / "host", tmp_path / "plugins" / "fans"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from .manifest import VERSION")
    for number, version in enumerate(("1.0.0", "1.0.1")):
        (folder / "manifest.py").write_text(f'NAME = "Fans"\nVERSION = "{version}"\nAUTHOR = "me"\n')
        os.utime(folder / "manifest.py", (number + 1e9, number + 1e9))
        made = make(tmp_path, f"out-{number}", plugins=find_packages(folder.parent).manifests)
        with tarfile.open(made.archive) as archive:
            unpack(archive, host)
        shown = subprocess.run(
            [sys.executable, "-c", "import plugins.fans; print(plugins.fans.VERSION)"],
            env={"PATH": ""},
            check=True,
            capture_output=True,
            text=True,
            cwd=host,
            timeout=60,
        )
        assert shown.stdout.strip() == version
    assert list(host.rglob("*.pyc")), "without bytecode the test proves nothing"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plugins": []}, "plugins: expected at least one plugin"),
        ({"address": ""}, "address: expected"),
        ({"address": "two words"}, "address: expected"),
        (
            {"address": "kafka:9092"},
            "address: expected a hostname or IP address without a port, found 'kafka:9092'",
        ),
        ({"address": "http://kafka"}, "address: expected"),
        ({"address": "999.1.1.1"}, "address: expected"),
        ({"port": 0}, "port: expected 1 to 65535, found 0"),
        ({"port": 65536}, "port: expected"),
        ({"interval": 0}, "interval: expected 1 second or more"),
        ({"config_id": -1}, "id: expected 0 to"),
        ({"config_id": 2**31}, "id: expected 0 to 2147483647, found 2147483648"),
        ({"bits": 1024}, "bits: expected one of 2048, 3072, 4096"),
    ],
)
def test_an_invalid_option_is_one_clear_line_and_writes_nothing(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make(tmp_path, **changes)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "address", ["kafka", "kafka-1.example.org", "10.0.0.1", "::1", "my_kafka", "host.docker.internal"]
)
def test_any_hostname_or_ip_address_is_accepted(tmp_path: Path, address: str) -> None:
    assert make(tmp_path, address=address).archive.exists()


def test_the_error_names_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigurationError, match="out: expected a writable folder"):
        make(tmp_path)
    assert files(tmp_path) == ["out"]
