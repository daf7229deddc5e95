"""Sealing: AES-256-GCM for internal topics and changelogs, so that the broker never holds a reading in clear.

Each process derives a key of its own from the shared one and a random salt (HKDF, RFC 5869) and counts its nonces, so
no nonce is ever used twice with a key (NIST SP 800-38D, 8.2.1).

A sealed message: version (1 byte) | fingerprint of the shared key (4) | salt (16) | counter (8) | ciphertext and tag.
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


class CannotUnseal(Exception):
    """A message that was not sealed with this key, or was changed on its way."""


class Sealer:
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

    def seal(self, message: bytes, purpose: bytes) -> bytes:
        """``message`` sealed; it can be unsealed with the same ``purpose`` only (such as the topic's name)."""
        counter = next(self._counter)
        header = _HEADER.pack(_VERSION, self._fingerprint, self._salt, counter)
        return header + self._cipher(self._salt).encrypt(counter.to_bytes(12), message, purpose)

    def unseal(self, sealed: bytes, purpose: bytes) -> bytes:
        """What was sealed.

        Raises:
            CannotUnseal: with what is wrong and what to do.
        """
        if len(sealed) < _HEADER.size or sealed[0] != _VERSION:
            raise CannotUnseal("not a sealed message: something else writes to the handler's own topics")
        _, fingerprint, salt, counter = _HEADER.unpack_from(sealed)
        if fingerprint != self._fingerprint:
            raise CannotUnseal("sealed with another key: all workers need the same certs/internal_key")
        try:
            return self._cipher(salt).decrypt(counter.to_bytes(12), sealed[_HEADER.size :], purpose)
        except InvalidTag as error:
            raise CannotUnseal("changed on its way, or meant for another topic") from error
