"""Random records: invalid ones of every kind, and valid ones among them."""

import base64
import json
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.support.collector import Collector

LARGE = 990_000
"""Bytes of the largest records: slightly less than a broker accepts by default."""
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.0, 1.5, "", "1", "x", [], [1], {}, {"a": 1}, 10**30, -(10**30), 2**63, 2**31,
    float("nan"), float("inf"), float("-inf"), "\0", "\ud800", "9" * 400,
)  # fmt: skip
_DATES = (
    "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999", "2026-02-30T00:00:00", "2026-11-23", "2026-11-23T10:00:00Z",
    "2026-11-23T10:00:00+03:00", "yesterday", "", "20261123T100000", "2026-11-23T24:00:00", "2026-W48-1", "1e9",
)  # fmt: skip
_HOSTS = (
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "",
    " ",
    "../..",
    "x" * 1025,
    "é" * 600,
    "'; DROP TABLE x; --",
    "\r\n",
)


class Poison:
    """Generates records.

    Arguments:
        collector: encrypts payloads.
        rng: source of all random decisions.
    """

    def __init__(self, collector: Collector, rng: random.Random) -> None:
        self._collector = collector
        self._rng = rng
        self._kinds: tuple[Callable[[], bytes], ...] = (
            self._valid, self._valid, self._valid, self._truncated, self._corrupted, self._random, self._not_base64,
            self._undecryptable, self._odd_field, self._odd_value, self._odd_payload, self._date, self._host,
            self._repeated_field, self._nested,
        )  # fmt: skip

    def record(self) -> bytes:
        """The next record."""
        # Large records are rare, because they are slow.
        kind = self._large if self._rng.random() < 0.001 else self._rng.choice(self._kinds)
        return kind()

    def _valid(self) -> bytes:
        rng = self._rng
        return self._collector.record(f"host-{rng.randrange(50)}", "Temperature", "k", rng.uniform(0, 90))

    def _fields(self, **changes: Any) -> bytes:
        # With the defaults of json, which writes NaN and lone surrogates.
        return json.dumps(json.loads(self._valid()) | changes).encode()

    def _payload(self, content: bytes) -> bytes:
        return self._collector.envelope("host-1", self._collector.encrypt(content[:214]))

    def _truncated(self) -> bytes:
        record = self._valid()
        return record[: self._rng.randrange(len(record))]

    def _corrupted(self) -> bytes:
        record = bytearray(self._valid())
        for _ in range(self._rng.randint(1, 5)):
            record[self._rng.randrange(len(record))] = self._rng.randrange(256)
        return bytes(record)

    def _random(self) -> bytes:
        return self._rng.randbytes(self._rng.randrange(600))

    def _not_base64(self) -> bytes:
        payload = json.loads(self._valid())["payload"]
        return self._fields(
            payload=self._rng.choice(
                (payload[:-1], payload + "=", payload[:10] + "\n" + payload[10:], "§§", "=")
            )
        )

    def _undecryptable(self) -> bytes:
        size = self._rng.choice((0, 1, 255, 256, 257, 512))
        return self._fields(payload=base64.b64encode(self._rng.randbytes(size)).decode())

    def _odd_field(self) -> bytes:
        field = self._rng.choice(("config_id", "hostname", "datetime", "payload", "more"))
        if self._rng.random() < 0.2:
            fields = json.loads(self._valid())
            fields.pop(field, None)
            return json.dumps(fields).encode()
        return self._fields(**{field: self._rng.choice(_ODD)})

    def _odd_value(self) -> bytes:
        plugin = self._rng.choice(("Temperature", "PU_Workload", "Fans", "", "temperature"))
        value = self._rng.choice((*_ODD[:-1], 1e308, -1e308, 251, -101, 5e-324))
        return self._payload(json.dumps({"plugin": plugin, "key": "k", "value": value}).encode())

    def _odd_payload(self) -> bytes:
        whole = {"plugin": "Temperature", "key": self._rng.choice(_ODD), "value": 1}
        return self._payload(
            self._rng.choice(
                (b"", b"null", b"[]", b"{}", b"\xff\xfe", b"1", json.dumps(whole).encode(), b'{"plugin"')
            )
        )

    def _date(self) -> bytes:
        return self._fields(datetime=self._rng.choice((*_DATES, datetime.now().isoformat() + "9")))

    def _host(self) -> bytes:
        return self._fields(hostname=self._rng.choice(_HOSTS))

    def _repeated_field(self) -> bytes:
        record = self._valid()
        field = self._rng.choice(
            (b'"hostname": "other"', b'"config_id": 9', b'"payload": "AA=="', b'"datetime": 1')
        )
        return (
            record[:-1] + b", " + field + b"}"
            if self._rng.random() < 0.5
            else b"{" + field + b", " + record[1:]
        )

    def _nested(self) -> bytes:
        depth = self._rng.choice((10, 100, 5_000))
        return self._rng.choice(
            (
                b"[" * depth,
                b'{"a":' * depth,
                b"[" * depth + b"]" * depth,
                self._valid()[:-1] + b', "more": ' + b"[" * depth + b"]" * depth + b"}",
                self._payload(
                    b'{"plugin": "Temperature", "key": "k", "value": ' + b"[" * 80 + b"]" * 80 + b"}"
                ),
            )
        )

    def _large(self) -> bytes:
        return self._rng.choice(
            (
                lambda: self._fields(payload="A" * LARGE),
                lambda: self._fields(hostname="x" * LARGE),
                lambda: self._fields(more="x" * LARGE),
                lambda: b"[" * LARGE,
                lambda: self._rng.randbytes(LARGE),
            )
        )()
