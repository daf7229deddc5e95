"""Private keys and the internal key."""

import os
import threading
from pathlib import Path

import pytest
from Crypto.PublicKey import RSA

from sparkle_app.envelope import keyring
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.model.errors import ConfigurationError, InvalidRecordError, Reason
from sparkle_app.sealed.internal_key import internal_key

PEM = RSA.generate(2048).export_key()


def test_keys_are_found_by_their_config_id(tmp_path: Path) -> None:
    (tmp_path / "rsa_key_7").write_bytes(PEM)
    (tmp_path / "rsa_key_7.pub").write_bytes(b"not a private key")
    (tmp_path / "README.md").write_text("not a key")
    keys = Keyring(tmp_path)
    assert len(keys) == 1
    assert keys.private_key(7).key_size == 2048


def test_a_key_that_is_added_later_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_RESCAN_SECONDS", 0.0)
    (tmp_path / "rsa_key_1").write_bytes(PEM)
    keys = Keyring(tmp_path)
    with pytest.raises(InvalidRecordError) as caught:
        keys.private_key(2)
    assert caught.value.reason is Reason.UNKNOWN_CONFIG
    (tmp_path / "rsa_key_2").write_bytes(PEM)
    assert keys.private_key(2).key_size == 2048


@pytest.mark.parametrize("content", [b"", b"junk", RSA.import_key(PEM).public_key().export_key()])
def test_a_damaged_key_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rsa_key_3").write_bytes(content)
    with pytest.raises(
        ConfigurationError, match=r"rsa_key_3: expected an RSA private key in PEM, found other content"
    ):
        Keyring(tmp_path)


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_keys_is_an_error_with_a_hint(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "certs"
    if exists:
        folder.mkdir()
    with pytest.raises(
        ConfigurationError, match=r"found none; create a config with `faust -A sparkle_app gen-config`"
    ):
        Keyring(folder)


def test_the_internal_key_is_created_once_with_mode_0600(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(internal_key(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert os.listdir(tmp_path) == ["internal_key"]
    assert (tmp_path / "internal_key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "zz", "abcd"])
def test_a_damaged_internal_key_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "internal_key").write_text(content)
    with pytest.raises(ConfigurationError, match="internal_key: expected"):
        internal_key(tmp_path)
