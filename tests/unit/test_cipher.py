"""Sealed messages."""

import hmac
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkle_app.sealed.cipher import Cipher, DecryptionError
from tests.support.texts import is_part_of_a_line

KEY = bytes(range(32))
FIXED = (
    "012242f71b6465666768696a6b6c6d6e6f707172730000000000000001"
    "ae82777878876dd9319f36f95c82558ec185542820fc0f7a0ed9e5fd"
)
"""What KEY encrypted in version 0.1.0."""


def test_another_process_decrypts_a_sealed_message() -> None:
    sealed = Cipher(KEY).encrypt(b"42.5 degrees", b"topic")
    assert Cipher(KEY).decrypt(sealed, b"topic") == b"42.5 degrees"
    assert b"42.5" not in sealed


def test_equal_messages_never_have_equal_ciphertexts() -> None:
    cipher = Cipher(KEY)
    assert len({cipher.encrypt(b"x", b"topic") for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("sealed", "message"),
    [
        (b"", "not a sealed message"),
        (b'{"json": true, "padding": "xxxxxxxxxxxxxxxxxxxx"}', "not a sealed message"),
        (Cipher(b"y" * 32).encrypt(b"x", b"topic"), "another key"),
        (Cipher(KEY).encrypt(b"x", b"other topic"), "another topic"),
        (Cipher(KEY).encrypt(b"x", b"topic")[:-1] + b"\0", "modified after encryption"),
        (Cipher(KEY).encrypt(b"x", b"topic")[:29], "modified after encryption"),
        (Cipher(KEY).encrypt(b"x", b"topic")[:28], "not a sealed message"),
    ],
    ids=["empty", "json", "another key", "another topic", "modified", "header only", "less"],
)
def test_the_error_states_why_decryption_failed(sealed: bytes, message: str) -> None:
    with pytest.raises(DecryptionError, match=message) as caught:
        Cipher(KEY).decrypt(sealed, b"topic")
    assert is_part_of_a_line(str(caught.value))


@given(st.binary(), st.binary())
def test_whatever_is_encrypted_comes_back(message: bytes, associated_data: bytes) -> None:
    encrypted = Cipher(KEY).encrypt(message, associated_data)
    assert len(encrypted) == 29 + len(message) + 16
    assert Cipher(KEY).decrypt(encrypted, associated_data) == message


def test_a_change_of_any_bit_is_noticed() -> None:
    encrypted = Cipher(KEY).encrypt(b"42.5", b"topic")
    for at, bit in itertools.product(range(len(encrypted)), (0x01, 0x80)):
        changed = bytearray(encrypted)
        changed[at] ^= bit
        with pytest.raises(DecryptionError):
            Cipher(KEY).decrypt(bytes(changed), b"topic")


def test_a_message_cut_short_anywhere_is_noticed() -> None:
    encrypted = Cipher(KEY).encrypt(b"42.5", b"topic")
    for length in range(len(encrypted)):
        with pytest.raises(DecryptionError):
            Cipher(KEY).decrypt(encrypted[:length], b"topic")


def test_a_message_of_an_earlier_version_is_still_decrypted() -> None:
    """Topics and changelogs hold messages for days."""
    encrypted = bytes.fromhex(FIXED)
    assert Cipher(KEY).decrypt(encrypted, b"topic") == b"42.5 degrees"
    # Version, fingerprint of the key, salt of the process, counter.
    assert encrypted[0] == 1
    assert encrypted[1:5] == Cipher(KEY).encrypt(b"", b"")[1:5]


def test_nonces_are_counted_and_each_process_has_a_key_of_its_own() -> None:
    cipher, other = Cipher(KEY), Cipher(KEY)
    headers = [cipher.encrypt(b"", b"")[:29] for _ in range(3)]
    assert [int.from_bytes(each[21:29]) for each in headers] == [0, 1, 2]
    assert len({each[5:21] for each in headers}) == 1
    assert other.encrypt(b"", b"")[5:21] != headers[0][5:21]


def test_a_secret_for_another_use_is_the_same_in_all_processes_with_the_key() -> None:
    first, second, other = Cipher(b"k" * 32), Cipher(b"k" * 32), Cipher(b"l" * 32)
    assert first.secret(b"a") == second.secret(b"a")
    assert (
        len({first.secret(b"a"), first.secret(b"b"), first.secret(b""), other.secret(b"a"), b"k" * 32}) == 5
    )
    assert len(first.secret(b"a")) == 32
    # RFC 5869 with an empty salt, calculated independently.
    pseudorandom = hmac.digest(bytes(32), b"k" * 32, "sha256")
    assert first.secret(b"a") == hmac.digest(pseudorandom, b"sparkle secret a\x01", "sha256")
