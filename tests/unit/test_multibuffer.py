"""Eight at once decrypt as one after the other do, whatever comes."""

import logging
import random
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    generate_private_key,
    rsa_crt_iqmp,
)

from sparkle_app.wire.decrypting import OAEP_SHA1, decrypt_each
from sparkle_app.wire.multibuffer import Multibuffer, Unavailable, multibuffer_or_each

KEYS = [generate_private_key(65537, 2048) for _ in range(3)]


@pytest.fixture(scope="module")
def multibuffer() -> Multibuffer:
    try:
        return Multibuffer(KEYS[0])
    except Unavailable as why:
        pytest.skip(f"multi-buffer RSA: {why}")


def encrypted(key: RSAPrivateKey, plaintext: bytes) -> tuple[RSAPrivateKey, bytes]:
    return key, key.public_key().encrypt(plaintext, OAEP_SHA1)


def primes_exchanged(key: RSAPrivateKey) -> RSAPrivateKey:
    n = key.private_numbers()
    iqmp = rsa_crt_iqmp(n.q, n.p)
    return RSAPrivateNumbers(n.q, n.p, n.d, n.dmq1, n.dmp1, iqmp, n.public_numbers).private_key()


@pytest.mark.parametrize("number", [0, 1, 4, 5, 7, 8, 9, 12, 13, 16, 61])
def test_any_number_of_readings_for_any_keys(multibuffer: Multibuffer, number: int) -> None:
    plaintexts = [bytes([n]) * (n * 3) for n in range(number)]
    sealed = [encrypted(KEYS[n % len(KEYS)], plaintext) for n, plaintext in enumerate(plaintexts)]
    assert multibuffer.decrypt(sealed) == plaintexts == decrypt_each(sealed)


def test_keys_of_other_forms(multibuffer: Multibuffer) -> None:
    keys = [
        KEYS[0],
        primes_exchanged(KEYS[0]),
        *(generate_private_key(65537, bits) for bits in (1024, 2056, 3072)),
    ]
    sealed = [encrypted(key, b"%d" % n) for n in range(20) for key in keys]
    assert multibuffer.decrypt(sealed) == [b"%d" % n for n in range(20) for _ in keys]


def test_what_was_not_encrypted_for_the_key_is_none_and_disturbs_no_other(multibuffer: Multibuffer) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    key, good = encrypted(KEYS[0], b"good")
    modulus = key.private_numbers().public_numbers.n
    bad = [
        b"", b"\0", good[:-1], good + b"\0", b"\0" + good, bytes(256), b"\xff" * 256,
        (1).to_bytes(256, "big"), (modulus - 1).to_bytes(256, "big"), modulus.to_bytes(256, "big"),
        # The same as `good` for a way that does not look at the modulus.
        (int.from_bytes(good, "big") + modulus).to_bytes(257, "big")[-256:],
        # Without OAEP, and with a first byte that is not 0.
        *(pow(number, 65537, modulus).to_bytes(256, "big") for number in (7, 2**2040 + 1)),
        *(chance.randbytes(256) for _ in range(40)),
        encrypted(KEYS[1], b"another's")[1],
    ]  # fmt: skip
    sealed = [(key, each) for each in [*bad, *[good] * len(bad)]]
    chance.shuffle(sealed)
    expected = [b"good" if ciphertext == good else None for _, ciphertext in sealed]
    assert multibuffer.decrypt(sealed) == expected == decrypt_each(sealed), seed


def test_where_it_is_not_installed_one_after_the_other_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    caplog.set_level(logging.INFO)
    assert multibuffer_or_each(KEYS[0]) is decrypt_each
    assert "decrypting one reading at a time: requirements-multibuffer.txt is not installed" in caplog.text

    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libcrypto_mb.so").touch()
    assert multibuffer_or_each(KEYS[0]) is decrypt_each
    assert "libintlc.so.5" in caplog.text
