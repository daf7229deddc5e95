"""A hand-written loop: consume, decrypt, insert, commit. It has no aggregates, no dead letters and no error handling.

``hand_written.py BOOTSTRAP GROUP TOPIC KEY DATABASE`` runs one process; start one for each core.
"""

import base64
import hashlib
import json
import sqlite3
import sys
from pathlib import Path

from confluent_kafka import Consumer
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_OAEP = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)


def main(bootstrap: str, group: str, topic: str, key_file: str, database: str) -> None:
    """Consume until the process is stopped."""
    key = load_pem_private_key(Path(key_file).read_bytes(), password=None)
    assert isinstance(key, RSAPrivateKey)
    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-32768")
    connection.execute("PRAGMA wal_autocheckpoint=16384")
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    while True:
        rows = []
        for message in consumer.consume(2500, timeout=0.2):
            record = json.loads(message.value() or b"")
            ciphertext = base64.b64decode(record["payload"])
            reading = json.loads(key.decrypt(ciphertext, _OAEP))
            id_ = hashlib.sha256(ciphertext).digest()[:16]
            rows.append((id_, record["hostname"], reading["key"], reading["value"], record["datetime"]))
        if rows:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
            consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
