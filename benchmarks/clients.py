"""Clients that do a worker no good: idle connections, and requests and responses that take for ever."""

import asyncio
import contextlib
import socket
import time
from collections import Counter
from threading import Event

import requests

from tests.support.worker import Worker

IDLE, SLOW = 1000, 300
RECONNECT_SECONDS = 10.0
"""A worker closes connections beyond its limit; the client then opens another one."""
BYTE_SECONDS = 5.0
"""Between two bytes that a slow client sends, or takes of a response."""
POLL_SECONDS = 1.0
_HOSTILE = "</td><script>alert(1)</script>\u202e\x1b[2J%2F../\"'" + 450 * "й"
_HALF = b"GET /api/v1/plugins HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
_WHOLE = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
Figures = dict[str, float]


def hostile_name(number: int) -> str:
    """The name of a host: of every tenth one, a thousand characters that are to be shown by no browser or terminal."""
    name = f"host-{number:05}"
    return f"{name}{_HOSTILE}" if number % 10 == 0 else name


def beside(workers: list[Worker], done: Event) -> Figures:
    """Keep the connections open until ``done`` is set, and look at the overview once a second meanwhile.

    Returns:
        ``connections``: the most that were open at once; ``opened``: how many were; ``answers``: of the overview.
    """
    return asyncio.run(_beside(workers[0], done))


async def _beside(worker: Worker, done: Event) -> Figures:
    counts: Counter[str] = Counter()
    clients = [_client(worker.port, b"", counts) for _ in range(IDLE)]
    clients += [_client(worker.port, _HALF, counts) for _ in range(SLOW // 2)]
    clients += [_client(worker.port, _WHOLE, counts) for _ in range(SLOW - SLOW // 2)]
    tasks = [asyncio.create_task(each) for each in clients]
    answers = 0
    while not done.is_set():
        await asyncio.sleep(POLL_SECONDS)
        answers += await asyncio.to_thread(_look, worker.url)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"connections": counts["most"], "opened": counts["opened"], "answers": answers}


async def _client(port: int, sent: bytes, counts: Counter[str]) -> None:
    """One connection at a time: an idle one without ``sent``, otherwise with a slow request or response."""
    while True:
        with contextlib.suppress(OSError):
            connection = socket.socket()
            # So that the worker cannot get rid of its response.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
            reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
            counts["opened"] += 1
            counts["open"] += 1
            counts["most"] = max(counts["most"], counts["open"])
            try:
                writer.write(sent)
                while sent:
                    await asyncio.sleep(BYTE_SECONDS)
                    if sent is _HALF:
                        writer.write(b"x")
                        await writer.drain()
                    elif not await reader.read(1):
                        break
                await reader.read()
            finally:
                counts["open"] -= 1
                writer.close()
        await asyncio.sleep(RECONNECT_SECONDS)


def _look(url: str) -> int:
    deadline = time.monotonic() + 10
    while True:
        try:
            response = requests.get(f"{url}/api/v1/overview?limit=50", timeout=10)
        except requests.ConnectionError:
            # Closed before it was its turn.
            assert time.monotonic() < deadline, "no answer within 10 s"
            continue
        assert response.status_code == 200, f"expected 200, found {response.status_code}"
        return 1
