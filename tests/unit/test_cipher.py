import pytest

from sparkle_app.sealed.cipher import Cipher, DecryptionError

KEY = bytes(range(32))


def test_what_is_sealed_can_be_unsealed_by_another_process() -> None:
    sealed = Cipher(KEY).encrypt(b"42.5 degrees", b"topic")
    assert Cipher(KEY).decrypt(sealed, b"topic") == b"42.5 degrees"
    assert b"42.5" not in sealed


def test_the_same_message_is_never_sealed_to_the_same_bytes() -> None:
    cipher = Cipher(KEY)
    assert len({cipher.encrypt(b"x", b"topic") for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("sealed", "says"),
    [
        (b"", "not an encrypted message"),
        (b'{"json": true, "padding": "xxxxxxxxxxxxxxxxxxxx"}', "not an encrypted message"),
        (Cipher(b"y" * 32).encrypt(b"x", b"topic"), "another key"),
        (Cipher(KEY).encrypt(b"x", b"other topic"), "another topic"),
        (Cipher(KEY).encrypt(b"x", b"topic")[:-1] + b"\0", "changed on its way"),
    ],
    ids=["nothing", "json", "another key", "another topic", "changed"],
)
def test_what_cannot_be_unsealed_says_why(sealed: bytes, says: str) -> None:
    with pytest.raises(DecryptionError, match=says):
        Cipher(KEY).decrypt(sealed, b"topic")
