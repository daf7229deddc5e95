"""TLS of the web server: unusable files, renewed certificates, and connections without a handshake."""

import asyncio
import contextlib
import logging
import shutil
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509

from sparkle_app.config.loading import load_settings
from sparkle_app.config.web import WebTlsSettings
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.web import connections
from sparkle_app.web.connections import LimitedRunner, LimitedSite
from sparkle_app.web.tls import WARNING, Certificate, server_context
from tests.support.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls(tmp_path: Path, authority: Authority) -> WebTlsSettings:
    """The files web.crt and web.key."""
    certificate, key = authority.issue("web")
    return WebTlsSettings(certificate=certificate, key=key)


def test_without_a_certificate_there_is_no_tls() -> None:
    assert server_context(WebTlsSettings()) is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "no certificate",
            r"web\.tls\.certificate: expected a PEM file, found none at .*/web\.crt; correct the setting",
        ),
        ("no key", r"web\.tls\.key: expected a PEM file, found none at .*/web\.key"),
        ("no authorities", r"web\.tls\.authorities: expected a PEM file, found none at .*/none\.crt"),
        ("empty authorities", r"web\.tls\.authorities: expected PEM certificates in .*/empty\.crt, found .+"),
        (
            "no pem",
            r"web\.tls\.certificate: expected a PEM certificate in .*/web\.crt, found none; correct the file",
        ),
        (
            "swapped",
            r"web\.tls\.certificate: expected a PEM certificate in .*/web\.key, found none; correct the file",
        ),
        (
            "no pem key",
            r"web\.tls\.key: expected the unencrypted private key of .*/web\.crt in .*/web\.key, found none; correct",
        ),
        (
            "other key",
            r"web\.tls\.key: expected the unencrypted private key .*, found key values mismatch; correct",
        ),
        (
            "encrypted key",
            r"web\.tls\.key: expected the unencrypted private key .*, found an encrypted one; correct",
        ),
    ],
)
def test_files_that_cannot_be_used_are_one_line(
    tmp_path: Path, authority: Authority, tls: WebTlsSettings, damage: str, message: str
) -> None:
    certificate, key = tmp_path / "web.crt", tmp_path / "web.key"
    other, encrypted = authority.issue("other")[1], authority.issue("encrypted", b"secret")[1]
    (tmp_path / "empty.crt").touch()
    match damage:
        case "no certificate":
            certificate.unlink()
        case "no key":
            key.unlink()
        case "no authorities":
            tls = tls.model_copy(update={"authorities": tmp_path / "none.crt"})
        case "empty authorities":
            tls = tls.model_copy(update={"authorities": tmp_path / "empty.crt"})
        case "no pem":
            certificate.write_text("not a certificate")
        case "swapped":
            tls = tls.model_copy(update={"certificate": key, "key": certificate})
        case "no pem key":
            key.write_text("not a key")
        case "other key":
            shutil.copy(other, key)
        case "encrypted key":
            shutil.copy(encrypted, key)
    with pytest.raises(ConfigurationError, match=message) as caught:
        server_context(tls)
    assert "\n" not in str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "web: {tls: {certificate: a.crt}}",
            "web.tls.key: expected a file, since web.tls.certificate is set",
        ),
        ("web: {tls: {key: a.key}}", "web.tls.certificate: expected a file, since web.tls.key is set"),
        (
            "web: {tls: {authorities: a.crt}}",
            "web.tls.certificate: expected a file, since web.tls.authorities is set",
        ),
        (
            "web: {public_url: 'http://a:1', tls: {certificate: a, key: b}}",
            "web.public_url: expected https://…, since web.tls.certificate is set, found http://a:1",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_one_line(tmp_path: Path, lines: str, message: str) -> None:
    (tmp_path / "settings.yaml").write_text(lines)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(tmp_path / "settings.yaml")
    assert message in str(caught.value)


def test_paths_are_relative_to_the_settings_file_and_the_url_has_the_scheme(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("web: {port: 7000, tls: {certificate: a.crt, key: keys/a.key}}")
    settings = load_settings(tmp_path / "settings.yaml")
    assert settings.web.tls.files == {"certificate": tmp_path / "a.crt", "key": tmp_path / "keys" / "a.key"}
    assert settings.web_url == "https://127.0.0.1:7000"
    (tmp_path / "settings.yaml").write_text("web: {public_url: 'HTTPS://proxied.example'}")
    assert load_settings(tmp_path / "settings.yaml").web_url == "HTTPS://proxied.example"


@pytest.fixture
async def port(tls: WebTlsSettings, context: ssl.SSLContext) -> AsyncIterator[int]:
    """The port of a server."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=request.scheme)

    application = web.Application()
    application.router.add_get("/", page)
    runner = LimitedRunner(application)
    await runner.setup()
    await LimitedSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
def context(tls: WebTlsSettings) -> ssl.SSLContext:
    context = server_context(tls)
    assert context
    return context


async def served_certificate(port: int, authority: Authority) -> bytes:
    """The certificate that a new connection gets; it must be signed by the authority."""
    trusting = ssl.create_default_context(cafile=authority.certificate)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
    )
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"\r\n\r\nhttps")
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found


async def test_a_renewed_certificate_is_served_without_a_restart(
    tls: WebTlsSettings,
    context: ssl.SSLContext,
    authority: Authority,
    port: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert tls.certificate
    assert tls.key
    warnings: dict[str, str] = {}
    # The certificates of the tests are valid for a day.
    watched = Certificate(context, tls, warnings, lambda: datetime.now(UTC) - timedelta(days=30))
    first = await served_certificate(port, authority)
    caplog.set_level(logging.INFO)
    watched.refresh()
    assert (await served_certificate(port, authority), caplog.messages) == (first, [])

    # Half of a renewal: the key of the new certificate is not there yet.
    old_key = tls.key.read_bytes()
    authority.issue("web")
    new_key = tls.key.read_bytes()
    tls.key.write_bytes(old_key)
    watched.refresh()
    watched.refresh()
    assert "found key values mismatch" in warnings[WARNING]
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert await served_certificate(port, authority) == first

    tls.key.write_bytes(new_key + b"\n")
    watched.refresh()
    second = await served_certificate(port, authority)
    assert second == ssl.PEM_cert_to_DER_cert(tls.certificate.read_text())
    assert (second != first, warnings) == (True, {})

    tls.certificate.unlink()
    watched.refresh()
    assert "expected a PEM file, found none" in warnings[WARNING]
    assert await served_certificate(port, authority) == second


def test_a_certificate_that_expires_is_warned_of_once(
    tls: WebTlsSettings, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    warnings: dict[str, str] = {}
    now = datetime.now(UTC)
    watched = Certificate(context, tls, warnings, lambda: now)
    assert tls.certificate
    end = x509.load_pem_x509_certificate(tls.certificate.read_bytes()).not_valid_after_utc
    now = end - timedelta(days=15)
    watched.refresh()
    assert warnings == {}
    for at, verb in ((end - timedelta(days=13), "expires"), (end + timedelta(minutes=5), "expired")):
        now = at
        watched.refresh()
        watched.refresh()
        assert warnings[WARNING].startswith(f"{tls.certificate} {verb} at {end:%Y-%m-%d %H:%M} UTC")
    assert len(caplog.records) == 2


@pytest.fixture
def short_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 2.0)


async def test_a_client_that_does_not_finish_its_handshake_is_disconnected(
    short_handshake: None, port: int, authority: Authority
) -> None:
    waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
    # Others are served meanwhile.
    assert await served_certificate(port, authority)
    async with asyncio.timeout(20):
        for reader, writer in waiting:
            assert await reader.read() == b""
            writer.close()


@pytest.fixture
def few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 8)


async def test_beyond_a_number_of_handshakes_the_oldest_ones_are_ended(
    few_connections: None, port: int, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    # Those that have ended do not count, whether they succeeded or not: only one is closed for all of these.
    for _ in range(5):
        assert await served_certificate(port, authority)
        reader, failing = await asyncio.open_connection("127.0.0.1", port)
        failing.write(b"no handshake")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        failing.close()
    assert await asyncio.wait_for(waiting[0][0].read(), 20) == b""
    (line,) = [record.getMessage() for record in caplog.records if record.name == connections.__name__]
    assert "more than 2 TLS handshakes" in line
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting[1][0].read(), 0.2)
    # Any number of clients that wait keep nobody from being served.
    waiting += [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
    assert await served_certificate(port, authority)
    for _, writer in waiting:
        writer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_plain_http_gets_no_answer(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(20):
        assert b"200" not in await reader.read()
    writer.close()
