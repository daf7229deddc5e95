"""Multi-buffer RSA: decrypts eight payloads at once, in half the time, on processors with AVX-512 IFMA or AVX-IFMA.

crypto_mb, a part of Intel's Cryptography Primitives Library (requirements-multibuffer.txt), performs the private-key
operation; see "Multi-buffer Cryptography Functions" in its reference. The system's OpenSSL 3, which crypto_mb requires,
removes the padding. Both run in constant time with respect to the plaintext.
"""

import ctypes
import logging
import sysconfig
from ctypes import c_char_p, c_int, c_uint32, c_uint64, c_void_p
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from sparkle_app.envelope.rsa import OAEP_SHA1, Ciphertexts, Decrypt, decrypt_each

LANES = 8
_BITS = 2048
_BYTES = _BITS // 8
_PARTS = 5  # numbers of a key
# A call takes as long as four and a half single decryptions, however many of its lanes are used.
MIN_LANES = 5
_RSA_2K = 1  # MBX_ALGO_RSA_2K
# crypto_mb is linked against these libraries, but does not find them itself.
_RUNTIME = ("libintlc.so.5", "libirng.so", "libimf.so", "libsvml.so")

_Lanes = c_void_p * LANES
# A key for crypto_mb: p, q, d mod (p-1), d mod (q-1), 1/q mod p, each little-endian.
_Parts = list["ctypes.Array[ctypes.c_char]"]

logger = logging.getLogger(__name__)


class MultibufferUnavailableError(Exception):
    """Multi-buffer RSA does not work on this machine."""


class MismatchError(Exception):
    """The results of crypto_mb differ from those of OpenSSL."""


def fastest_decrypt() -> Decrypt:
    """The fastest :data:`Decrypt` that works on this machine."""
    try:
        decrypt = Multibuffer().decrypt
    except (MultibufferUnavailableError, MismatchError) as error:
        logger.info("decrypting one reading at a time: %s", error)
        return decrypt_each
    logger.info("decrypting %d readings at once, with keys of %d bits", LANES, _BITS)
    return decrypt


class Multibuffer:
    """Decrypts eight payloads at once, with the same results as :func:`decrypt_each`. Not thread-safe.

    Raises:
        MultibufferUnavailableError: if the libraries are not installed, or the processor lacks the instructions.
        MismatchError: if the self-test fails.
    """

    def __init__(self) -> None:
        self._crypto_mb, self._openssl = _libraries()
        self._method = self._crypto_mb.mbx_RSA2K_private_crt_Method()
        self._scratch = ctypes.create_string_buffer(self._crypto_mb.mbx_RSA_Method_BufSize(self._method))
        self._in, self._out = (ctypes.create_string_buffer(LANES * _BYTES) for _ in range(2))
        self._in_lanes, self._out_lanes = (
            _Lanes(*range(start, start + LANES * _BYTES, _BYTES))
            for start in (ctypes.addressof(self._in), ctypes.addressof(self._out))
        )
        self._plaintext = ctypes.create_string_buffer(_BYTES)
        self._keys: dict[RSAPrivateKey, tuple[bytes, _Parts] | None] = {}
        self._self_test()

    def decrypt(self, ciphertexts: Ciphertexts) -> list[bytes | None]:
        """Return the plaintext of each ciphertext, in order; None if it does not decrypt with its key."""
        plaintexts: list[bytes | None] = [None] * len(ciphertexts)
        fit = [at for at, (key, ciphertext) in enumerate(ciphertexts) if self._fits(key, ciphertext)]
        for start in range(0, len(fit), LANES):
            places = fit[start : start + LANES]
            if len(places) >= MIN_LANES:
                for at, plaintext in zip(places, self._call([ciphertexts[at] for at in places]), strict=True):
                    plaintexts[at] = plaintext
        # OpenSSL can decrypt with some partly damaged keys, and detects calculation errors of the processor. So it
        # decrypts again what crypto_mb could not, before a dead letter is produced, and what crypto_mb was not given.
        rest = [at for at, plaintext in enumerate(plaintexts) if plaintext is None]
        for at, plaintext in zip(rest, decrypt_each([ciphertexts[at] for at in rest]), strict=True):
            plaintexts[at] = plaintext
        return plaintexts

    def _fits(self, key: RSAPrivateKey, ciphertext: bytes) -> bool:
        if key not in self._keys:
            self._keys[key] = _parts(key)
        known = self._keys[key]
        # RFC 8017, 5.1.2: a ciphertext is a number below the modulus. crypto_mb does not check this.
        return known is not None and len(ciphertext) == _BYTES and ciphertext < known[0]

    def _call(self, ciphertexts: Ciphertexts) -> list[bytes | None]:
        # Unused lanes repeat the first payload.
        lanes = [*ciphertexts, *[ciphertexts[0]] * (LANES - len(ciphertexts))]
        self._in.raw = b"".join(ciphertext for _, ciphertext in lanes)
        keys = [known[1] for key, _ in lanes if (known := self._keys[key])]
        parts = [_Lanes(*(ctypes.addressof(key[part]) for key in keys)) for part in range(_PARTS)]
        status = self._crypto_mb.mbx_rsa_private_crt_mb8(
            self._in_lanes, self._out_lanes, *parts, _BITS, self._method, self._scratch
        )
        if status:
            return [None] * len(ciphertexts)
        return [self._without_padding(padded) for padded in self._out_lanes[: len(ciphertexts)]]

    def _without_padding(self, padded: int | None) -> bytes | None:
        size = self._openssl.RSA_padding_check_PKCS1_OAEP_mgf1(
            self._plaintext, _BYTES, padded, _BYTES, _BYTES, None, 0, None, None
        )
        if size < 0:
            # Python's ssl module would report an error left in OpenSSL's error queue as its own.
            self._openssl.ERR_clear_error()
            return None
        return self._plaintext.raw[:size]

    def _self_test(self) -> None:
        if not self._crypto_mb.mbx_get_algo_info(_RSA_2K):
            raise MultibufferUnavailableError("the processor has neither AVX-512 IFMA nor AVX-IFMA")
        key = generate_private_key(65537, _BITS)
        sent = [(key, key.public_key().encrypt(bytes(lane), OAEP_SHA1)) for lane in range(LANES - 1)]
        sent.append((key, bytes(_BYTES)))
        fit = all(self._fits(*each) for each in sent)
        if not fit or self._call(sent) != decrypt_each(sent):
            raise MismatchError("the results of crypto_mb differ from those of OpenSSL")
        del self._keys[key]


def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    folder = Path(sysconfig.get_path("data"), "lib")
    library = folder / "libcrypto_mb.so"
    if not library.exists():
        raise MultibufferUnavailableError("requirements-multibuffer.txt is not installed")
    try:
        for name in _RUNTIME:
            ctypes.CDLL(str(folder / name))
        crypto_mb = ctypes.CDLL(str(library))
        openssl = ctypes.CDLL("libcrypto.so.3")
        crypto_mb.mbx_get_algo_info.argtypes, crypto_mb.mbx_get_algo_info.restype = [c_int], c_uint64
        crypto_mb.mbx_RSA2K_private_crt_Method.restype = c_void_p
        crypto_mb.mbx_RSA_Method_BufSize.argtypes = [c_void_p]
        crypto_mb.mbx_rsa_private_crt_mb8.restype = c_uint32
        crypto_mb.mbx_rsa_private_crt_mb8.argtypes = [_Lanes] * (2 + _PARTS) + [c_int, c_void_p, c_char_p]
        openssl.RSA_padding_check_PKCS1_OAEP_mgf1.argtypes = [
            c_char_p, c_int, c_void_p, c_int, c_int, c_void_p, c_int, c_void_p, c_void_p,
        ]  # fmt: skip
        openssl.ERR_clear_error.restype = None
    except (OSError, AttributeError) as error:
        # AttributeError: another library of this name, or an OpenSSL that was built without this function.
        raise MultibufferUnavailableError(
            f"requirements-multibuffer.txt is not completely installed: {error}"
        ) from error
    return crypto_mb, openssl


def _parts(key: RSAPrivateKey) -> tuple[bytes, _Parts] | None:
    """The modulus (big-endian) and the numbers that crypto_mb takes; None if it does not support the key."""
    numbers = key.private_numbers()
    parts = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    half = _BITS // 2
    if (
        key.key_size != _BITS
        or not numbers.p.bit_length() == numbers.q.bit_length() == half
        # Only in a damaged file.
        or any(part.bit_length() > half for part in parts)
    ):
        return None
    size = _BYTES // 2
    return (
        numbers.public_numbers.n.to_bytes(_BYTES, "big"),
        [ctypes.create_string_buffer(part.to_bytes(size, "little"), size) for part in parts],
    )
