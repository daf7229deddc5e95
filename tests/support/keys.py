"""Private keys for tests, generated once per process, because generating one takes a tenth of a second or more."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


@cache
def private_key_pem(number: int = 0, bits: int = 2048) -> bytes:
    """A private key in PEM; each ``number`` stands for a different one."""
    key = generate_private_key(public_exponent=65537, key_size=bits)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
