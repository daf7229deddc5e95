"""Sealing: AES-256-GCM for internal topics and changelogs, so that the broker never holds a reading in clear.

Each process derives a key of its own from the shared one and a random salt (HKDF, RFC 5869) and counts its nonces, so
no nonce is ever used twice with a key (NIST SP 800-38D, 8.2.1).

A message: version (1 byte) | fingerprint of the shared key (4) | salt (16) | counter (8) | ciphertext and tag.
"""

import hashlib
import itertools
import os
import struct
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION = 1
_HEADER = struct.Struct(">B4s16sQ")


class DecryptionError(Exception):
    """A message that was not encrypted with this key, or was changed on its way."""


class Cipher:
    """Seals and unseals messages with the key of ``certs/internal_key``.

    Arguments:
        key: 32 bytes, the same for all workers.
    """

    def __init__(self, key: bytes) -> None:
        self._fingerprint = hashlib.sha256(b"sparkle fingerprint" + key).digest()[:4]
        self._salt = os.urandom(16)
        self._counter = itertools.count()

        @lru_cache(maxsize=1024)
        def cipher(salt: bytes) -> AESGCM:
            return AESGCM(HKDF(SHA256(), length=32, salt=salt, info=b"sparkle sealing").derive(key))

        self._cipher = cipher

    def encrypt(self, message: bytes, associated_data: bytes) -> bytes:
        """``message`` encrypted; only the same ``associated_data`` (such as the topic's name) decrypts it."""
        counter = next(self._counter)
        header = _HEADER.pack(_VERSION, self._fingerprint, self._salt, counter)
        return header + self._cipher(self._salt).encrypt(counter.to_bytes(12), message, associated_data)

    def decrypt(self, encrypted: bytes, associated_data: bytes) -> bytes:
        """What was encrypted.

        Raises:
            DecryptionError: with what is wrong and what to do.
        """
        if len(encrypted) < _HEADER.size or encrypted[0] != _VERSION:
            raise DecryptionError(
                "not an encrypted message: something else writes to the handler's own topics"
            )
        _, fingerprint, salt, counter = _HEADER.unpack_from(encrypted)
        if fingerprint != self._fingerprint:
            raise DecryptionError("encrypted with another key: all workers need the same certs/internal_key")
        try:
            return self._cipher(salt).decrypt(
                counter.to_bytes(12), encrypted[_HEADER.size :], associated_data
            )
        except InvalidTag as error:
            raise DecryptionError("changed on its way, or meant for another topic") from error
