"""Multi-buffer RSA has the same results as decryption of one payload at a time."""

import ctypes
import logging
import random
import sysconfig
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    generate_private_key,
    rsa_crt_iqmp,
)

from sparkle_app.envelope.rsa import OAEP_SHA1, Ciphertexts, decrypt_each
from sparkle_app.envelope.rsa_multibuffer import (
    LANES,
    Multibuffer,
    MultibufferUnavailableError,
    fastest_decrypt,
)


@cache
def private_key(_number: int) -> RSAPrivateKey:
    """Not created on import: every process of pytest imports this module, and one runs its tests."""
    return generate_private_key(65537, 2048)


class Counting(Multibuffer):
    """Records the number of payloads in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def decrypt(self, sealed: Ciphertexts) -> list[bytes | None]:
        self.calls = []
        return super().decrypt(sealed)

    def _call(self, sealed: Ciphertexts) -> list[bytes | None]:
        # The self-test calls this before the attribute exists.
        vars(self).setdefault("calls", []).append(len(sealed))
        return super()._call(sealed)


@pytest.fixture(scope="module")
def multibuffer() -> Counting:
    """Skips the test only where multi-buffer RSA is unavailable, not if its results are wrong."""
    try:
        return Counting()
    except MultibufferUnavailableError as error:
        pytest.skip(f"multi-buffer RSA: {error}")


def encrypted(key: RSAPrivateKey, plaintext: bytes) -> tuple[RSAPrivateKey, bytes]:
    return key, key.public_key().encrypt(plaintext, OAEP_SHA1)


def changed(key: RSAPrivateKey, **parts: int) -> RSAPrivateKey:
    """The key with some numbers replaced, as in a partly damaged file."""
    n = key.private_numbers()
    own = {name: getattr(n, name) for name in ("p", "q", "d", "dmp1", "dmq1", "iqmp")} | parts
    numbers = RSAPrivateNumbers(**own, public_numbers=n.public_numbers)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


@pytest.mark.parametrize(
    ("number", "calls"),
    [
        *[(0, []), (1, []), (4, []), (5, [5]), (7, [7]), (8, [8]), (9, [8])],
        *[(12, [8]), (13, [8, 5]), (16, [8, 8]), (61, [8] * 7 + [5])],
    ],
)
def test_any_number_of_readings_of_several_keys(multibuffer: Counting, number: int, calls: list[int]) -> None:
    plaintexts = [bytes([n]) * (n * 3) for n in range(number)]
    sealed = [encrypted(private_key(n % 3), plaintext) for n, plaintext in enumerate(plaintexts)]
    assert multibuffer.decrypt(sealed) == plaintexts == decrypt_each(sealed)
    assert multibuffer.calls == calls


def test_unusual_keys(multibuffer: Counting) -> None:
    n = private_key(0).private_numbers()
    exchanged = changed(private_key(0), p=n.q, q=n.p, dmp1=n.dmq1, dmq1=n.dmp1, iqmp=rsa_crt_iqmp(n.q, n.p))
    for key, fits in [
        (exchanged, True),
        *((generate_private_key(65537, bits), False) for bits in (1024, 2056, 3072)),
    ]:
        sealed = [encrypted(key, b"%d" % number) for number in range(LANES)]
        assert multibuffer.decrypt(sealed) == [b"%d" % number for number in range(LANES)]
        assert multibuffer.calls == [LANES] * fits


def test_a_partly_damaged_key_gives_the_results_of_openssl(multibuffer: Counting) -> None:
    n = private_key(0).private_numbers()
    for damage in (
        {"iqmp": n.iqmp + 2}, {"dmp1": n.dmp1 + 2}, {"dmp1": n.dmq1, "dmq1": n.dmp1},
        {"dmp1": n.d}, {"iqmp": n.iqmp + n.p},
    ):  # fmt: skip
        key = changed(private_key(0), **damage)
        sealed = [(key, encrypted(private_key(0), b"good")[1]) for _ in range(LANES)] + [
            encrypted(private_key(1), b"other")
        ] * 8
        assert multibuffer.decrypt(sealed) == decrypt_each(sealed), damage


def test_ciphertexts_that_do_not_decrypt_give_none_and_do_not_affect_others(multibuffer: Counting) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    key = private_key(0)
    modulus = key.private_numbers().public_numbers.n
    # Congruent numbers decrypt to the same plaintext: the reading would have two ids, and would be counted twice.
    while int.from_bytes(good := encrypted(key, b"good")[1], "big") + modulus >= 2**2048:
        pass
    congruent = (int.from_bytes(good, "big") + modulus).to_bytes(256, "big")
    bad = [
        congruent, b"", b"\0", good[:-1], good + b"\0", b"\0" + good, bytes(256), b"\xff" * 256,
        (1).to_bytes(256, "big"), (modulus - 1).to_bytes(256, "big"), modulus.to_bytes(256, "big"),
        # Without OAEP, and with a first byte that is not 0.
        *(pow(number, 65537, modulus).to_bytes(256, "big") for number in (7, 2**2040 + 1)),
        *(chance.randbytes(256) for _ in range(40)),
        encrypted(private_key(1), b"other key")[1],
    ]  # fmt: skip
    sealed = [(key, each) for each in [*bad, *[good] * len(bad)]]
    chance.shuffle(sealed)
    expected = [b"good" if ciphertext == good else None for _, ciphertext in sealed]
    assert multibuffer.decrypt(sealed) == expected == decrypt_each(sealed), seed
    assert len(multibuffer.calls) > LANES
    assert ctypes.CDLL("libcrypto.so.3").ERR_peek_error() == 0, (
        "Python's ssl module would report this error as its own"
    )


def test_a_processor_without_the_instructions(multibuffer: Counting) -> None:
    library = multibuffer._crypto_mb
    library.mbx_get_cpu_features.restype = ctypes.c_uint64
    library.mbx_set_cpu_features.argtypes = [ctypes.c_uint64]
    features = library.mbx_get_cpu_features()
    library.mbx_set_cpu_features(2)
    try:
        with pytest.raises(MultibufferUnavailableError, match="the processor has neither"):
            Multibuffer()
    finally:
        library.mbx_set_cpu_features(features)


@pytest.mark.usefixtures("multibuffer")
def test_the_self_test_detects_wrong_results(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Multibuffer, "_without_padding", lambda *_: b"something else")
    caplog.set_level(logging.INFO)
    assert fastest_decrypt() is decrypt_each
    assert "one reading at a time: the results of crypto_mb differ from those of OpenSSL" in caplog.text


@pytest.mark.usefixtures("multibuffer")
def test_another_library_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path(sysconfig.get_path("data"), "lib")
    (tmp_path / "lib").mkdir()
    for name in ("libintlc.so.5", "libirng.so", "libimf.so", "libsvml.so"):
        (tmp_path / "lib" / name).symlink_to(real / name)
    (tmp_path / "lib" / "libcrypto_mb.so").symlink_to(real / "libimf.so")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(MultibufferUnavailableError, match="undefined symbol: mbx_get_algo_info"):
        Multibuffer()


def test_without_the_libraries_readings_are_decrypted_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    caplog.set_level(logging.INFO)
    assert fastest_decrypt() is decrypt_each
    assert "decrypting one reading at a time: requirements-multibuffer.txt is not installed" in caplog.text

    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libcrypto_mb.so").touch()
    assert fastest_decrypt() is decrypt_each
    assert "libintlc.so.5" in caplog.text
