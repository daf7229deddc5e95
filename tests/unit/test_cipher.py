import pytest

from sparkle_app.sealed.cipher import CannotUnseal, Sealer

KEY = bytes(range(32))


def test_what_is_sealed_can_be_unsealed_by_another_process() -> None:
    sealed = Sealer(KEY).seal(b"42.5 degrees", b"topic")
    assert Sealer(KEY).unseal(sealed, b"topic") == b"42.5 degrees"
    assert b"42.5" not in sealed


def test_the_same_message_is_never_sealed_to_the_same_bytes() -> None:
    sealer = Sealer(KEY)
    assert len({sealer.seal(b"x", b"topic") for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("sealed", "says"),
    [
        (b"", "not a sealed message"),
        (b'{"json": true, "padding": "xxxxxxxxxxxxxxxxxxxx"}', "not a sealed message"),
        (Sealer(b"y" * 32).seal(b"x", b"topic"), "another key"),
        (Sealer(KEY).seal(b"x", b"other topic"), "another topic"),
        (Sealer(KEY).seal(b"x", b"topic")[:-1] + b"\0", "changed on its way"),
    ],
    ids=["nothing", "json", "another key", "another topic", "changed"],
)
def test_what_cannot_be_unsealed_says_why(sealed: bytes, says: str) -> None:
    with pytest.raises(CannotUnseal, match=says):
        Sealer(KEY).unseal(sealed, b"topic")
