"""Who may do what, with workers as processes: sessions, TLS, and requests between workers."""

import re
import ssl
import time
from functools import partial
from pathlib import Path

import msgspec
import pytest
import requests

from sparkle_app.model.time import from_seconds, span
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import INTERNAL_KEY_BYTES, INTERNAL_KEY_FILE, existing_internal_key
from sparkle_app.web.connections import MAX_BODY_BYTES
from sparkle_app.web.partition_router import INTERNAL_PATH, WindowQuery, WorkersSecret
from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.certificates import Authority
from tests.support.collector import Collector
from tests.support.eventually import eventually
from tests.support.web import send
from tests.support.worker import Worker, Workspace, run_command

pytestmark = [pytest.mark.parametrize("database_url", ["sqlite"], indirect=True), pytest.mark.any_broker]
FLEET = "/api/v1/plugins/Temperature?window=1h"
READ, OPERATE = "read-5f0c", "operate-91ab"


@pytest.fixture
def collector(workspace: Workspace) -> Collector:
    """Created before any worker starts: a worker needs a private key."""
    return Collector(workspace.certs)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def logged_in(worker: Worker, token: str, ca: str | bool = True) -> requests.Session:
    """A browser in which somebody has entered a token."""
    browser = requests.Session()
    # REQUESTS_CA_BUNDLE would replace what is set here.
    browser.trust_env, browser.verify = False, ca
    browser.headers["Accept"] = "text/html,*/*;q=0.8"
    first = browser.get(f"{worker.url}/docs", timeout=10)
    assert re.fullmatch(rf"{worker.url}/login\?next=/docs", first.url)
    form = {"token": token, "next": "/docs"}
    done = browser.post(f"{worker.url}/login", form, headers={"Origin": worker.url}, timeout=10)
    assert (done.status_code, done.url) == (200, f"{worker.url}/docs")
    return browser


def test_two_workers_with_tls_a_session_and_a_renewed_certificate(
    broker: Broker,
    workspace: Workspace,
    collector: Collector,
    authority: Authority,
    start_worker: StartWorker,
    database_url: str,
) -> None:
    certificate, key = authority.issue("worker")
    ca = str(authority.certificate)
    settings = {
        "web__token": READ,
        "web__operator_token": OPERATE,
        "web__tls__certificate": certificate,
        "web__tls__key": key,
        "web__tls__authorities": ca,
    }
    workers = [start_worker(**settings), start_worker(**settings)]
    hosts = [f"host-{number}" for number in range(20)]
    send(broker, workspace.topic, collector, hosts)
    for worker in workers:
        # Each asks the other over HTTPS for its hosts.
        eventually(
            partial(worker.get, FLEET),
            lambda found: found[0] == 200 and found[1]["hosts"] == 20,
            90,
        )
    first, second = workers
    browser = logged_in(first, OPERATE, ca)
    cookie = next(iter(browser.cookies))
    assert (cookie.secure, cookie.path, cookie.name) == (True, "/", f"{workspace.app_id}-session")
    found = browser.get(f"{second.url}/api/v1/session", timeout=10).json()
    assert (found["role"], found["session"]) == ("operator", True)
    assert browser.get(second.url + FLEET, timeout=10).json()["hosts"] == 20
    with pytest.raises(requests.ConnectionError):
        requests.get(second.url.replace("https:", "http:"), timeout=10)
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(second.url, timeout=10)

    def served() -> str:
        return ssl.get_server_certificate(("127.0.0.1", first.port))

    assert served().strip() == certificate.read_text().strip()
    authority.issue("worker")
    eventually(served, lambda found: found.strip() == certificate.read_text().strip(), 60)
    assert browser.get(first.url + FLEET, timeout=10).status_code == 200

    # Also while it runs.
    environment = workspace.environment(broker.bootstrap, database_url, **settings, web__port=first.port)
    done = run_command(environment, "check")
    in_use = "is in use; if not by a running worker, set web.port to another port"
    warning = f"warning: {certificate} expires at "
    assert f"ok    web: https://127.0.0.1:{first.port} {in_use}; {warning}" in done.stdout
    eventually(
        lambda: first.get("/health/ready")[1],
        lambda found: f"{certificate} expires at " in found.get("warnings", {}).get("web certificate", ""),
    )
    key.write_text("damaged")
    failed = run_command(workspace.environment(broker.bootstrap, database_url, **settings), "check")
    assert failed.returncode == 1
    assert "ERROR web: web.tls.key: expected the unencrypted private key of" in failed.stdout
    rejected = start_worker(ready=False, **settings)
    assert "web.tls.key: expected the unencrypted private key of" in rejected.wait_failure()
    for worker in workers:
        assert not re.search(f"{READ}|{OPERATE}|{cookie.value}", worker.process.tail())


def test_without_tls_a_session_ends_with_its_token_and_workers_need_no_token_of_users(
    broker: Broker, workspace: Workspace, collector: Collector, start_worker: StartWorker
) -> None:
    first = start_worker(web__token=READ, web__operator_token=OPERATE)
    # It has other tokens, as while they are being changed.
    second = start_worker(web__token="new-read", web__operator_token=OPERATE)
    hosts = [f"host-{number}" for number in range(20)]
    send(broker, workspace.topic, collector, hosts)
    for worker in (first, second):
        eventually(
            partial(worker.get, FLEET),
            lambda found: found[0] == 200 and found[1]["hosts"] == 20,
            90,
        )
    reader, operator = logged_in(first, READ), logged_in(first, OPERATE)
    assert reader.get(first.url + FLEET, timeout=10).status_code == 200
    expired = reader.get(second.url + FLEET, timeout=10)
    assert (expired.status_code, "/login?next=" in expired.url) == (200, True)
    assert reader.get(second.url + FLEET, headers={"Accept": "*/*"}, timeout=10).status_code == 401
    assert operator.get(second.url + FLEET, timeout=10).json()["hosts"] == 20
    for headers in ({"Authorization": f"Bearer {OPERATE}"}, {}):
        internal = operator.post(first.url + INTERNAL_PATH, "{}", headers=headers, timeout=10)
        assert internal.status_code == 401
    out = operator.post(f"{first.url}/logout", headers={"Origin": first.url}, timeout=10)
    assert (out.url, list(operator.cookies)) == (f"{first.url}/login", [])


def post_as_worker(worker: Worker, key: bytes | None, body: bytes) -> int:
    """Send a query as a worker with this internal key does; returns the status."""
    assert key
    headers = WorkersSecret(Cipher(key)).headers(worker.url, INTERNAL_PATH, body)
    return requests.post(worker.url + INTERNAL_PATH, body, headers=headers, timeout=10).status_code


def test_workers_with_different_internal_keys_do_not_answer_each_other(
    workspace: Workspace, collector: Collector, start_worker: StartWorker
) -> None:
    worker = start_worker()
    key = existing_internal_key(workspace.certs)
    now = from_seconds(time.time())
    query = msgspec.json.encode(WindowQuery("Temperature", now - span(600), now))
    assert post_as_worker(worker, key, query) == 200
    assert post_as_worker(worker, bytes(INTERNAL_KEY_BYTES), query) == 401
    bearer = {"Authorization": f"Bearer {(workspace.certs / INTERNAL_KEY_FILE).read_text().strip()}"}
    assert requests.post(worker.url + INTERNAL_PATH, query, headers=bearer, timeout=10).status_code == 401


def test_limits_of_a_request(workspace: Workspace, collector: Collector, start_worker: StartWorker) -> None:
    worker = start_worker(web__token=READ, web__operator_token=OPERATE)
    bearer = {"Authorization": f"Bearer {OPERATE}"}
    key = existing_internal_key(workspace.certs)
    assert post_as_worker(worker, key, b"x" * (MAX_BODY_BYTES - 1)) == 400
    assert post_as_worker(worker, key, b"x" * (MAX_BODY_BYTES + 1)) == 413
    for headers in ({"X-Large": "x" * 9000}, {f"X-{number}": "x" for number in range(200)}):
        found = requests.get(f"{worker.url}/api/v1/plugins", headers={**bearer, **headers}, timeout=10)
        assert (found.status_code, found.headers["Content-Type"]) == (400, "application/problem+json")
    form = requests.post(f"{worker.url}/login", {"token": "x" * 20_000}, timeout=10)
    assert form.status_code == 413
    for query in ("limit=1001", "limit=0", "from=0001-01-01&to=9999-12-31&limit=1&after=9-0"):
        path = f"/api/v1/plugins/Temperature/hosts/a/readings?{query}"
        assert requests.get(worker.url + path, headers=bearer, timeout=10).status_code == 400
    assert worker.process.running
