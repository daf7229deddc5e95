"""The method of the earlier handler: for each record, it reads and parses the key file, decrypts, inserts and commits.

``earlier.py BOOTSTRAP GROUP TOPIC KEY DATABASE``
"""

import base64
import json
import sys
from pathlib import Path

from confluent_kafka import Consumer
from Crypto.Cipher import PKCS1_OAEP
from Crypto.PublicKey import RSA
from sqlalchemy import create_engine, text

INSERT = text("INSERT INTO readings VALUES (:id, :host, :metric, :value, :at)")


def main(bootstrap: str, group: str, topic: str, key_file: str, database: str) -> None:
    """Consume until the process is stopped."""
    engine = create_engine(f"sqlite:///{database}")
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    while True:
        message = consumer.poll(0.2)
        if message is None or message.error():
            continue
        record = json.loads(message.value() or b"")
        cipher = PKCS1_OAEP.new(RSA.import_key(Path(key_file).read_bytes()))
        reading = json.loads(cipher.decrypt(base64.b64decode(record["payload"])))
        row = {
            "id": f"{message.partition()}/{message.offset()}",
            "host": record["hostname"],
            "metric": reading["key"],
            "value": reading["value"],
            "at": record["datetime"],
        }
        with engine.begin() as connection:
            connection.execute(INSERT, row)


if __name__ == "__main__":
    main(*sys.argv[1:])
