"""Private keys and the internal key."""

import errno
import logging
import os
import threading
from pathlib import Path

import pytest
from Crypto.PublicKey import RSA
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sparkle_app.envelope import keyring
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.model.errors import ConfigurationError, InvalidRecordError, Reason
from sparkle_app.sealed.internal_key import internal_key, lost_internal_key
from tests.support.keys import private_key_pem
from tests.support.permissions import obeyed_modes
from tests.support.texts import is_complete, is_part_of_a_line

PEM = private_key_pem()


def test_keys_are_found_by_their_config_id(tmp_path: Path) -> None:
    (tmp_path / "rsa_key_7").write_bytes(PEM)
    (tmp_path / "rsa_key_7.pub").write_bytes(b"not a private key")
    (tmp_path / "README.md").write_text("not a key")
    keys = Keyring(tmp_path)
    assert len(keys) == 1
    assert keys.private_key(7).key_size == 2048


def test_a_key_that_is_added_later_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with pytest.raises(ConfigurationError) as caught:
        Keyring(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/rsa_key_3: expected an RSA private key in PEM, found other content;"
        " restore it from the backup of certs/"
    )


def test_a_key_without_its_password_or_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rsa_key_3"
    path.write_bytes(RSA.import_key(PEM).export_key(passphrase="secret"))
    with pytest.raises(ConfigurationError, match="rsa_key_3: expected an RSA private key") as caught:
        Keyring(tmp_path)
    assert caught.value.where == str(path)
    path.write_bytes(
        generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    with pytest.raises(ConfigurationError, match="rsa_key_3: expected an RSA private key") as caught:
        Keyring(tmp_path)
    assert str(caught.value) == (
        f"{path}: expected an RSA private key, found ECPrivateKey; restore it from the backup of certs/"
    )


def test_a_key_that_cannot_be_read_says_what_the_system_says(tmp_path: Path) -> None:
    (tmp_path / "rsa_key_3").mkdir()
    with pytest.raises(ConfigurationError) as caught:
        Keyring(tmp_path)
    assert caught.value.found == os.strerror(errno.EISDIR)
    assert "certs/" in caught.value.hint
    assert is_complete(caught.value)


def test_a_key_that_is_added_later_is_found_when_a_record_needs_it(tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "rsa_key_1").write_bytes(PEM)
    keys = Keyring(certs)
    with pytest.raises(InvalidRecordError) as caught:
        keys.private_key(22)
    assert caught.value.detail == "certs/rsa_key_22 does not exist"
    (certs / "rsa_key_22").write_bytes(PEM)
    assert keys.private_key(22).key_size == 2048
    assert len(keys) == 2


def test_a_key_is_loaded_again_only_if_its_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "rsa_key_1"
    path.write_bytes(PEM)
    keys = Keyring(tmp_path)
    first = keys.private_key(1)
    assert not keys.reload(1)
    assert keys.private_key(1) is first
    path.write_bytes(private_key_pem(1))
    # A record that the loaded key decrypts does not need the other one.
    assert keys.private_key(1) is first
    assert keys.reload(1)
    second = keys.private_key(1)
    assert second.private_numbers() != first.private_numbers()
    path.unlink()
    assert not keys.reload(1)
    assert keys.private_key(1) is second


def test_a_damaged_key_that_is_added_later_is_logged_once_and_keeps_no_other_from_being_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "rsa_key_1").write_bytes(PEM)
    keys = Keyring(tmp_path)
    first = keys.private_key(1)
    (tmp_path / "rsa_key_1").write_bytes(b"damaged since")
    (tmp_path / "rsa_key_2").write_bytes(b"damaged")
    (tmp_path / "rsa_key_3").write_bytes(PEM)
    with caplog.at_level(logging.ERROR, keyring.__name__), pytest.raises(InvalidRecordError):
        keys.private_key(2)
    with pytest.raises(InvalidRecordError) as caught:
        keys.private_key(2)
    assert caught.value.detail.endswith("/rsa_key_2 cannot be used; the log says why")
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{tmp_path / 'rsa_key_2'}: expected an RSA private key")
    assert keys.private_key(3).key_size == 2048
    # What is loaded stays, until the process ends, and the folder is not read for it.
    caplog.clear()
    assert keys.private_key(1) is first
    assert not caplog.records


def test_a_key_that_could_not_be_read_is_loaded_once_its_mode_is_corrected(tmp_path: Path) -> None:
    (tmp_path / "rsa_key_1").write_bytes(PEM)
    keys = Keyring(tmp_path)
    path = tmp_path / "rsa_key_2"
    path.touch(mode=0o000)
    path.write_bytes(PEM)
    with (
        obeyed_modes(),
        pytest.raises(InvalidRecordError, match="rsa_key_2 cannot be used; the log says why"),
    ):
        keys.private_key(2)
    path.chmod(0o600)
    with obeyed_modes():
        assert keys.private_key(2).key_size == 2048


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_keys_is_an_error_with_a_hint(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "certs"
    if exists:
        folder.mkdir()
    with pytest.raises(
        ConfigurationError, match=r"found none; create a config with `faust -A sparkle_app gen-config`"
    ) as caught:
        Keyring(folder)
    assert str(caught.value) == (
        f"{folder}: expected private keys named rsa_key_<id>, found none; create a config with"
        " `faust -A sparkle_app gen-config`, or copy the keys to this folder"
    )


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


def test_the_internal_key_is_text_that_can_be_backed_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "sparkle_app.sealed.internal_key"):
        key = internal_key(tmp_path)
        assert internal_key(tmp_path) == key
    assert (tmp_path / "internal_key").read_text() == key.hex() + "\n"
    # Who makes it has to know: every worker needs the same one.
    (record,) = caplog.records
    assert str(tmp_path / "internal_key") in record.getMessage()
    assert "certs/" in record.getMessage()
    assert is_part_of_a_line(record.getMessage())
    assert key.hex() not in record.getMessage()


def test_an_internal_key_that_exists_needs_no_writable_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = internal_key(tmp_path)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "touch", read_only)
    assert internal_key(tmp_path) == key


@pytest.mark.parametrize(
    ("method", "expected", "hint"),
    [
        ("touch", "to create the key", "make {} writable for the user of the worker"),
        ("read_text", "a readable key", "make it readable for the user of the worker"),
    ],
)
def test_an_error_without_a_number_of_the_system_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, expected: str, hint: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(Path, method, broken)
    with pytest.raises(ConfigurationError) as caught:
        internal_key(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/internal_key: expected {expected}, found the disk is on fire; {hint.format(tmp_path)}"
    )


def test_a_folder_of_keys_whose_error_has_no_number_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> None:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(Path, "iterdir", broken)
    with pytest.raises(ConfigurationError) as caught:
        Keyring(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: expected a readable folder of private keys, found the disk is on fire;"
        " make it readable for the user of the worker"
    )


def test_an_internal_key_of_another_length_says_how_long_it_is(tmp_path: Path) -> None:
    (tmp_path / "internal_key").write_text("ab" * 31)
    with pytest.raises(ConfigurationError) as caught:
        internal_key(tmp_path)
    assert caught.value.expected.startswith("32 bytes")
    assert caught.value.found.startswith("31")
    assert caught.value.where == str(tmp_path / "internal_key")


def test_of_two_workers_that_start_together_the_first_ones_key_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(draft: Path, path: Path) -> None:
        path.write_text("ab" * 32)
        raise FileExistsError

    monkeypatch.setattr(os, "link", late)
    assert internal_key(tmp_path) == b"\xab" * 32
    assert os.listdir(tmp_path) == ["internal_key"]


def test_an_internal_key_that_is_deleted_at_once_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", lambda draft, path: None)
    with pytest.raises(ConfigurationError, match="internal_key: expected the key, found none") as caught:
        internal_key(tmp_path)
    assert is_complete(caught.value)


def test_the_error_for_a_lost_internal_key_says_how_to_restore_it(tmp_path: Path) -> None:
    error = lost_internal_key(tmp_path, "sparkle-Temperature-samples")
    assert error.where == str(tmp_path / "internal_key")
    assert "sparkle-Temperature-samples" in error.expected
    assert error.found == "none"
    assert error.hint == (
        f"restore it with `cp -n BACKUP/internal_key {tmp_path}/`, or copy it from another worker, or set another"
        " app_id, if these topics belong to another installation; if it is lost, see"
        ' "A new internal key" in SECURITY.md'
    )
    assert is_complete(error)


def test_an_internal_key_that_cannot_be_made_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    def refused(draft: Path, path: Path) -> None:
        modes.append(draft.stat().st_mode & 0o777)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(ConfigurationError) as caught:
        internal_key(tmp_path)
    assert caught.value.where == str(tmp_path / "internal_key")
    assert os.strerror(errno.EIO) in caught.value.found
    assert os.listdir(tmp_path) == []
    # It was secret from its first moment.
    assert modes == [0o600]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "0 bytes"),
        ("zz", "other content"),
        ("abcd", "2 bytes"),
        ("ab" * 31, "31 bytes"),
        ("ab" * 33, "33 bytes"),
        ("ключ", "other content"),
    ],
)
def test_a_damaged_internal_key_is_named(tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / "internal_key").write_text(content)
    with pytest.raises(ConfigurationError, match="internal_key: expected") as caught:
        internal_key(tmp_path)
    error = caught.value
    assert str(error) == (
        f"{tmp_path}/internal_key: expected 32 bytes in hexadecimal, found {found};"
        " restore it from the backup of certs/"
    )
    # A part of a key is a secret as well.
    assert not content or content not in str(error)
