"""``python -m benchmarks.polling PORT VIEWERS SECONDS``: viewers that poll the overview as the page does.

A browser would take far more of the processor than the worker that it asks; this takes as little as Python can.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter

POLL_SECONDS = 5.0
"""As in poll.js."""
PATHS = (
    "/api/v1/overview?sort=state&limit=100&silent=6",
    "/api/v1/plugins/{plugin}/cells",
)
"""What the overview requests together, each on a connection of its own (overview.js, heat_section.js)."""
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_TAG = re.compile(rb"\r\netag: ([^\r]+)", re.IGNORECASE)
Figures = dict[str, float]


def poll(port: int, plugin: str, viewers: int, seconds: float) -> Figures:
    """Poll for some time. The viewers come one after the other within the time between two polls.

    Returns:
        ``requests``, those of which were answered with ``unchanged`` (status 304), ``bytes`` of all responses, and
        ``clients``: CPU seconds of this process.
    """
    counts: Counter[str] = Counter(requests=0, unchanged=0, bytes=0)
    asyncio.run(_all(port, plugin, viewers, seconds, counts))
    return {**counts, "clients": time.process_time()}


async def _all(port: int, plugin: str, viewers: int, seconds: float, counts: Counter[str]) -> None:
    until = time.monotonic() + seconds
    await asyncio.gather(
        *(
            _one(port, path.format(plugin=plugin), POLL_SECONDS * number / viewers, until, counts)
            for number in range(viewers)
            for path in PATHS
        )
    )


async def _one(port: int, path: str, delay: float, until: float, counts: Counter[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: gzip\r\n".encode()
    due, tag = time.monotonic() + delay, b""
    while due < until:
        await asyncio.sleep(due - time.monotonic())
        writer.write(request + (b"If-None-Match: " + tag + b"\r\n" if tag else b"") + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        assert status in {200, 304}, f"expected 200 or 304, found {head!r}"
        length, found = _LENGTH.search(head), _TAG.search(head)
        assert found, f"expected an entity tag, found {head!r}"
        tag = found[1]
        size = int(length[1]) if length and status == 200 else 0
        await reader.readexactly(size)
        counts["requests"] += 1
        counts["unchanged"] += status == 304
        counts["bytes"] += len(head) + size
        # The next poll begins some time after the response, as it does in a browser.
        due = max(due, time.monotonic()) + POLL_SECONDS
    writer.close()


if __name__ == "__main__":
    print(json.dumps(poll(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
