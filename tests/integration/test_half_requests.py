"""A worker that gets more half-sent requests than it may open files serves others, and says so in a line."""

import resource
import socket
from contextlib import ExitStack

import pytest

from tests.integration.conftest import StartWorker
from tests.support.collector import Collector
from tests.support.web import request
from tests.support.worker import Workspace

pytestmark = pytest.mark.any_broker

OPEN_FILES = 1024


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_half_sent_requests_keep_nobody_from_being_served(
    workspace: Workspace, start_worker: StartWorker
) -> None:
    Collector(workspace.certs)
    worker = start_worker(web__token="hush")
    _, hard = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(own[1], 4096), own[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, own)
        for _ in range(OPEN_FILES + 100):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", worker.port), timeout=10))
            half.sendall(b"GET /api/v1/plugins HTTP/1.1\r\nHost: x")
        for _ in range(5):
            assert request(worker, "/health/ready")[0] == 200
            assert request(worker, "/api/v1/plugins", Authorization="Bearer hush")[0] == 200
    log = worker.process.log.read_text()
    assert log.count("more than 500 connections") == 1
    assert log.count("\n") < 100
