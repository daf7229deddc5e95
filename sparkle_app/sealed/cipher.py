"""Sealed messages: AES-256-GCM for samples topics, changelog topics and replay tokens.

The broker never sees a reading in plaintext. Each process derives its own key from the internal key and a random salt
(HKDF, RFC 5869), and uses a counter as the nonce: no nonce is ever used twice with a key (NIST SP 800-38D, 8.2.1).

A message: version (1 byte) | fingerprint of the internal key (4) | salt (16) | counter (8) | ciphertext and tag.
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
    """The message was not encrypted with this key and associated data, or it was modified."""


class Cipher:
    """Encrypts and decrypts sealed messages.

    Arguments:
        key: the internal key, 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._fingerprint = hashlib.sha256(b"sparkle fingerprint" + key).digest()[:4]
        self._salt = os.urandom(16)
        self._counter = itertools.count()

        @lru_cache(maxsize=1024)
        def cipher(salt: bytes) -> AESGCM:
            return AESGCM(HKDF(SHA256(), length=32, salt=salt, info=b"sparkle sealing").derive(key))

        self._cipher = cipher

    def secret(self, use: bytes) -> bytes:
        """32 bytes for another use than messages: the same in all processes that have the internal key."""
        return HKDF(SHA256(), length=32, salt=None, info=b"sparkle secret " + use).derive(self._key)

    def encrypt(self, message: bytes, associated_data: bytes) -> bytes:
        """Encrypt a message. Decrypting it requires the same ``associated_data``, such as the topic's name."""
        counter = next(self._counter)
        header = _HEADER.pack(_VERSION, self._fingerprint, self._salt, counter)
        return header + self._cipher(self._salt).encrypt(counter.to_bytes(12), message, associated_data)

    def decrypt(self, encrypted: bytes, associated_data: bytes) -> bytes:
        """Decrypt a sealed message.

        Raises:
            DecryptionError: stating what is wrong, and what to do.
        """
        if len(encrypted) < _HEADER.size or encrypted[0] != _VERSION:
            raise DecryptionError("not a sealed message: another program writes to the handler's own topics")
        _, fingerprint, salt, counter = _HEADER.unpack_from(encrypted)
        if fingerprint != self._fingerprint:
            raise DecryptionError("encrypted with another key: all workers need the same certs/internal_key")
        try:
            return self._cipher(salt).decrypt(
                counter.to_bytes(12), encrypted[_HEADER.size :], associated_data
            )
        except InvalidTag as error:
            raise DecryptionError("modified after encryption, or encrypted for another topic") from error
