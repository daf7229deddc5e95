"""Files and folders of another user, file systems without hard links, and other encodings: one line, no traceback."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from sparkle_app.cli.messages import messages
from sparkle_app.cli.prompts import ConfigRequest, prompt_all
from sparkle_app.collector_config import make_config
from sparkle_app.collector_config.creation import free_id
from sparkle_app.config.yaml_file import read_keys
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.manifest import find_packages
from sparkle_app.runtime.certificates import check_files
from sparkle_app.runtime.folders import blocking_path, complete_file, publish
from sparkle_app.sealed.internal_key import existing_internal_key, internal_key
from sparkle_app.storage.engine import can_be_created, make_engine
from sparkle_app.worker.startup import create_data_folder
from tests.support.collector import Collector
from tests.support.permissions import obeyed_modes
from tests.support.worker import PROJECT

PLUGIN = 'NAME = "P"\nVERSION = "1"\nAUTHOR = "me"\n'


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """A function that takes all permissions from a file or folder until the end of the test."""
    modes: list[tuple[Path, int]] = []

    def lock(path: Path) -> Path:
        modes.append((path, path.stat().st_mode))
        path.chmod(0)
        return path

    with obeyed_modes():
        yield lock
    for path, mode in modes:
        path.chmod(stat.S_IMODE(mode))


def test_unreadable_certs_are_named(tmp_path: Path, locked: Callable[[Path], Path]) -> None:
    Collector(tmp_path)
    internal_key(tmp_path)
    locked(tmp_path)
    for read in (Keyring, existing_internal_key):
        with pytest.raises(ConfigurationError) as caught:
            read(tmp_path)
        assert str(tmp_path) in caught.value.where
        assert caught.value.found == "Permission denied"
        assert caught.value.hint == "make it readable for the user of the worker"


@pytest.mark.parametrize(("name", "read"), [("rsa_key_1", Keyring), ("internal_key", existing_internal_key)])
def test_an_unreadable_key_is_named(
    tmp_path: Path, locked: Callable[[Path], Path], name: str, read: Callable[[Path], object]
) -> None:
    Collector(tmp_path)
    internal_key(tmp_path)
    locked(tmp_path / name)
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path)
    assert (caught.value.where, caught.value.found) == (str(tmp_path / name), "Permission denied")
    assert caught.value.hint == "make it readable for the user of the worker"


def test_files_in_an_unreadable_folder_are_not_missing(
    tmp_path: Path, locked: Callable[[Path], Path]
) -> None:
    (tmp_path / "locked").mkdir()
    file = tmp_path / "locked" / "file"
    file.touch()
    locked(file.parent)
    with pytest.raises(ConfigurationError) as caught:
        read_keys(file)
    assert (caught.value.expected, caught.value.found) == ("a readable file", "Permission denied")
    with pytest.raises(ConfigurationError) as caught:
        check_files("broker.tls", {"ca_file": file})
    assert str(caught.value) == (
        f"broker.tls.ca_file: expected a PEM file, found Permission denied at {file};"
        " make it readable for the user of the worker"
    )


@pytest.mark.parametrize("certs", ["locked", "locked/certs"])
def test_no_id_is_free_where_keys_cannot_be_listed(
    tmp_path: Path, locked: Callable[[Path], Path], certs: str
) -> None:
    (tmp_path / certs).mkdir(parents=True)
    locked(tmp_path / "locked")
    with pytest.raises(ConfigurationError) as caught:
        free_id(tmp_path / certs)
    assert (caught.value.where, caught.value.found) == (str(tmp_path / certs), "Permission denied")


def test_prompts_leave_an_unreadable_folder_to_the_creation_of_files(
    tmp_path: Path, locked: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "")
    plugins = find_packages(PROJECT / "plugins").manifests
    request = ConfigRequest(plugins, "127.0.0.1", 9092, 300, 5, locked(tmp_path))
    assert prompt_all(request, plugins, tmp_path, messages()) == request


def test_an_unreadable_plugins_folder_is_not_empty(tmp_path: Path, locked: Callable[[Path], Path]) -> None:
    locked(tmp_path)
    with pytest.raises(ConfigurationError, match="expected a folder of plugins, found Permission denied"):
        find_packages(tmp_path)


@pytest.mark.parametrize("what", ["p", "p/manifest.py", "p/__init__.py"])
def test_an_unreadable_plugin_is_named_and_the_others_are_found(
    tmp_path: Path, locked: Callable[[Path], Path], what: str
) -> None:
    for name in ("p", "q"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(PLUGIN.replace('"P"', f'"{name}"'))
    if what == "p/manifest.py":
        (tmp_path / what).write_text(PLUGIN)
    locked(tmp_path / what)
    found = find_packages(tmp_path)
    assert [manifest.name for manifest in found.manifests] == ["q"]
    (error,) = found.errors
    assert error.where.startswith("plugin p (")
    assert error.found == "Permission denied"


def test_a_folder_in_an_unreadable_one_is_blocked(tmp_path: Path, locked: Callable[[Path], Path]) -> None:
    (tmp_path / "locked").mkdir()
    locked(tmp_path / "locked")
    assert blocking_path(tmp_path / "locked" / "data" / "x") == tmp_path / "locked"
    with pytest.raises(ConfigurationError, match=r"database.url: .*Permission denied"):
        can_be_created(make_url(f"sqlite:///{tmp_path}/locked/x.sqlite3"))


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def no_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, which tests cannot mount."""

    def refused(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "link", refused)


@pytest.mark.usefixtures("no_links")
def test_keys_and_configs_are_created_without_hard_links(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    key = internal_key(tmp_path / "certs")
    assert existing_internal_key(tmp_path / "certs") == key
    manifests = find_packages(PROJECT / "plugins").manifests
    made = make_config(
        manifests, address="kafka", port=9092, interval=60, output=tmp_path, certs=tmp_path / "certs"
    )
    assert made.archive.stat().st_size > 0
    assert len(Keyring(tmp_path / "certs")) == 1
    assert sorted(os.listdir(tmp_path / "certs")) == ["internal_key", "rsa_key_1"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "certs").iterdir()} == {0o600}
    with pytest.raises(FileExistsError):
        publish(made.archive, made.key)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("is_link", [False, True])
def test_a_complete_file_replaces_none_that_was_created_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool, is_link: bool
) -> None:
    def no_link(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    file = tmp_path / "export.csv"

    def write() -> None:
        with complete_file(file) as draft:
            draft.write(b"ours")

    def write_after_another() -> None:
        with complete_file(file) as draft:
            draft.write(b"ours")
            if is_link:
                file.symlink_to("nowhere")
            else:
                file.write_bytes(b"theirs")

    with pytest.raises(FileExistsError):
        write_after_another()
    assert os.listdir(tmp_path) == [file.name]
    assert file.is_symlink() if is_link else file.read_bytes() == b"theirs"
    file.unlink()
    write()
    assert os.listdir(tmp_path) == [file.name]
    assert file.read_bytes() == b"ours"


@pytest.mark.parametrize("links", [True, False])
def test_only_the_own_user_can_read_what_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def no_link(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    existing = tmp_path / "existing"
    existing.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        for folder in (tmp_path / "data", existing):
            create_data_folder(folder)
        for folder in (tmp_path / "sqlite", existing):
            make_engine(make_url(f"sqlite:///{folder}/x.sqlite3")).dispose()
        with complete_file(tmp_path / "export.csv") as file:
            file.write(b"readings")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"data": 0o700, "sqlite": 0o700, "existing": 0o755, "export.csv": 0o600}


@pytest.mark.parametrize("encoding", ["koi8-r", "latin-1", "ascii"])
def test_the_banner_of_a_worker_can_be_printed_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SPARKLE_")}
    environment = {**inherited, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(PROJECT)}
    # It ends because there are no private keys. The working directory is another than that of the checkout.
    ended = subprocess.run(
        [sys.executable, "-m", "faust", "-A", "sparkle_app", "worker"],
        capture_output=True,
        check=False,
        timeout=60,
        env=environment,
        cwd=tmp_path,
    )
    assert ended.returncode == 1
    assert b"Traceback" not in ended.stderr
    assert b"v0.15.3" in ended.stdout
    assert b"expected private keys named rsa_key_<id>, found none" in ended.stderr.splitlines()[-1]


def test_a_read_only_folder_without_an_internal_key_gets_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "touch", read_only)
    with pytest.raises(ConfigurationError) as caught:
        internal_key(tmp_path)
    assert caught.value.found == "Read-only file system"
    assert "openssl rand -hex 32" in caught.value.hint
