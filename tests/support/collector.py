"""A collector, written from the description of the wire format only."""

import json
import tarfile
from base64 import b64encode
from datetime import datetime
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

_PADDING = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """The content of a file in a config archive."""
    member = archive.extractfile(name)
    assert member, f"{name} is not a file"
    return member.read()


class Collector:
    """Encrypts readings for one config id.

    Arguments:
        certs: the folder in which the private key is written, as ``rsa_key_<config_id>``.
    """

    def __init__(self, certs: Path, config_id: int = 1) -> None:
        self.config_id = config_id
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        file = certs / f"rsa_key_{config_id}"
        file.touch(mode=0o600, exist_ok=False)
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
        self._public = key.public_key()

    @classmethod
    def of_archive(cls, archive: Path) -> "Collector":
        """A collector that uses this config archive."""
        collector = cls.__new__(cls)
        with tarfile.open(archive) as members:
            collector.config_id = yaml.safe_load(read_member(members, "config.yaml"))["id"]
            public = load_pem_public_key(read_member(members, "rsa_key.pub"))
        assert isinstance(public, rsa.RSAPublicKey)
        collector._public = public
        return collector

    def record(
        self, hostname: str, plugin: str, key: str, value: object, when: datetime | None = None
    ) -> bytes:
        """The record of one reading; ``when`` is the host's local time, a naive datetime (default: now)."""
        inner = json.dumps({"plugin": plugin, "key": key, "value": value})
        return self.envelope(hostname, self.encrypt(inner.encode()), when)

    def encrypt(self, inner: bytes) -> bytes:
        """Encrypt at most 214 bytes, as a collector does."""
        return self._public.encrypt(inner, _PADDING)

    def envelope(self, hostname: str, ciphertext: bytes, when: datetime | None = None) -> bytes:
        """The record with this ciphertext as its payload."""
        fields = {
            "config_id": self.config_id,
            "hostname": hostname,
            "datetime": (when or datetime.now()).isoformat(),
            "payload": b64encode(ciphertext).decode(),
        }
        return json.dumps(fields).encode()
