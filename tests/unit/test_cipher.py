"""Sealed messages."""

import pytest

from sparkle_app.sealed.cipher import Cipher, DecryptionError

KEY = bytes(range(32))


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
    ],
    ids=["empty", "json", "another key", "another topic", "modified"],
)
def test_the_error_states_why_decryption_failed(sealed: bytes, message: str) -> None:
    with pytest.raises(DecryptionError, match=message):
        Cipher(KEY).decrypt(sealed, b"topic")
