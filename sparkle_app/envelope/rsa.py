"""The private operation on payloads, one after the other."""

from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1

Ciphertexts = Sequence[tuple[RSAPrivateKey, bytes]]
"""Ciphertexts, each with the key that it should have been encrypted for."""
Decrypt = Callable[[Ciphertexts], list[bytes | None]]
"""Gives the plaintext of each ciphertext, in order; None where it was not encrypted for its key."""

# The collectors' padding: RFC 8017 RSAES-OAEP with its default SHA-1 and MGF1-SHA-1, no label.
OAEP_SHA1 = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)


def decrypt_each(ciphertexts: Ciphertexts) -> list[bytes | None]:
    """A :data:`Decrypt` for every processor and every length of key."""
    return [_decrypt(key, ciphertext) for key, ciphertext in ciphertexts]


def _decrypt(key: RSAPrivateKey, ciphertext: bytes) -> bytes | None:
    try:
        return key.decrypt(ciphertext, OAEP_SHA1)
    except ValueError:
        return None
