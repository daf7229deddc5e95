"""RSA decryption of payloads, one at a time."""

from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1

Ciphertexts = Sequence[tuple[RSAPrivateKey, bytes]]
"""Ciphertexts, each with the private key of its config id."""
Decrypt = Callable[[Ciphertexts], list[bytes | None]]
"""Returns the plaintext of each ciphertext, in order; None if it does not decrypt with its key."""

# The padding that collectors use: RFC 8017 RSAES-OAEP with its defaults SHA-1 and MGF1-SHA-1, no label.
OAEP_SHA1 = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)


def decrypt_each(ciphertexts: Ciphertexts) -> list[bytes | None]:
    """A :data:`Decrypt` for any processor and any key size."""
    return [_decrypt(key, ciphertext) for key, ciphertext in ciphertexts]


def _decrypt(key: RSAPrivateKey, ciphertext: bytes) -> bytes | None:
    try:
        return key.decrypt(ciphertext, OAEP_SHA1)
    except ValueError:
        return None
