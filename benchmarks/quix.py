"""The same work with Quix Streams: stored readings, and one-minute aggregates from its windows.

``quix.py BOOTSTRAP GROUP TOPIC KEY DATABASE`` runs one process, with its state in the working directory; start one for
each core. It needs its own environment, see benchmarks/requirements-quix.txt.
"""

import base64
import hashlib
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from quixstreams import Application
from quixstreams.dataframe.windows import Count, Latest, Max, Min, Sum
from quixstreams.sinks import BaseSink

_OAEP = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)
MINUTE = 60_000


class SqlSink(BaseSink):
    """Writes the rows of a checkpoint in one transaction."""

    statement: str

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection
        self._rows: dict[Any, tuple[Any, ...]] = {}

    def flush(self) -> None:
        """Called before offsets are committed."""
        if self._rows:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(self.statement, list(self._rows.values()))
            self._connection.execute("COMMIT")
            self._rows.clear()

    def on_paused(self) -> None:
        """Called when the added rows will be redelivered."""
        self._rows.clear()


class Readings(SqlSink):
    """Stored readings."""

    statement = "INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?)"

    def add(self, value: Any, *_: Any, **__: Any) -> None:
        """Add a reading."""
        id_ = bytes.fromhex(value["id"])
        self._rows[id_] = (id_, value["host"], value["metric"], value["value"], value["at"])


class Aggregates(SqlSink):
    """The latest state of each window."""

    statement = "INSERT OR REPLACE INTO aggregates VALUES (?, ?, ?, ?, ?, ?, ?)"

    def add(self, value: Any, key: Any, *_: Any, **__: Any) -> None:
        """Add an update of a window."""
        name = key.decode() if isinstance(key, bytes) else key
        figures = (value["count"], value["sum"], value["minimum"], value["maximum"], value["last"])
        self._rows[name, value["start"]] = (name, value["start"], *figures)


def main(bootstrap: str, group: str, topic: str, key_file: str, database: str) -> None:
    """Consume until the process is stopped."""
    private = load_pem_private_key(Path(key_file).read_bytes(), password=None)
    assert isinstance(private, RSAPrivateKey)
    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")

    def decrypt(value: bytes) -> dict[str, Any]:
        record = json.loads(value)
        ciphertext = base64.b64decode(record["payload"])
        reading = json.loads(private.decrypt(ciphertext, _OAEP))
        return {
            "id": hashlib.sha256(ciphertext).hexdigest()[:32],
            "host": record["hostname"],
            "metric": reading["key"],
            "value": reading["value"],
            "at": record["datetime"],
        }

    app = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        state_dir=Path("state"),
        loglevel="WARNING",
    )
    readings = app.dataframe(app.topic(topic, value_deserializer="bytes")).apply(decrypt)
    readings.sink(Readings(connection))
    windows = readings.group_by(lambda each: f"{each['host']} {each['metric']}", name="metric")
    aggregates = windows.tumbling_window(MINUTE, grace_ms=60 * MINUTE).agg(
        count=Count(), sum=Sum("value"), minimum=Min("value"), maximum=Max("value"), last=Latest("value")
    )
    aggregates.current().sink(Aggregates(connection))
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
