"""Finds out why the broker cannot be used."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.kafka.connection import security_arguments
from sparkle_app.model.errors import ConfigurationError

_PROBE_SECONDS = 3
# The first bytes of a TLS alert (version 3.1 to 3.4), read as the size of a response.
_TLS_ALERTS = range(0x15030000, 0x15040000)


async def explain_failure(broker: BrokerSettings, error: Exception | None) -> str:
    """Connect to the servers of ``broker.url`` once more to find out why the broker failed.

    Arguments:
        error: what failed; its text is the answer if the connections work.

    Returns:
        The cause, as the operating system states it if no connection can be established.

    Raises:
        ConfigurationError: if a server rejects the certificate or the login, or the settings do not match it, so that
            a retry would not help.
    """
    servers = [server.strip() for server in broker.url.split(",")]
    found = await _probe_all(broker, servers)
    causes = {server: cause for server, cause in found.items() if isinstance(cause, str)}
    if len(causes) == len(found):
        return _joined(causes)
    # At least one server answers: it tells which addresses clients have to connect to.
    advertised = set().union(*(cause for cause in found.values() if not isinstance(cause, str)))
    unreachable = {
        f"{server}, which the broker advertises": cause
        for server, cause in (await _probe_all(broker, sorted(advertised - set(servers)))).items()
        if isinstance(cause, str)
    }
    if unreachable:
        return "; ".join(f"{server}: {cause}" for server, cause in unreachable.items())
    if error is None or isinstance(error, TimeoutError):
        return ""
    return " ".join(str(error).split()) or type(error).__name__


async def describe_failure(broker: BrokerSettings) -> str:
    """Why the broker cannot be used at this moment, whatever the cause; an empty string if connections work."""
    try:
        return await explain_failure(broker, None)
    except ConfigurationError as error:
        return str(error)


def _joined(causes: dict[str, str]) -> str:
    """One text if all servers have the same cause."""
    texts = set(causes.values())
    return texts.pop() if len(texts) == 1 else "; ".join(f"{name}: {text}" for name, text in causes.items())


async def _probe_all(broker: BrokerSettings, servers: Iterable[str]) -> dict[str, str | set[str]]:
    """For each server: the cause why it cannot be used, or the addresses that it advertises."""
    names = list(servers)
    results = await asyncio.gather(*(_probe(broker, name) for name in names), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return dict(zip(names, results, strict=True))  # type: ignore[arg-type]


async def _probe(broker: BrokerSettings, server: str) -> str | set[str]:
    try:
        async with _connection(server, **security_arguments(broker)) as connection:
            try:
                metadata = await connection.send(MetadataRequest([]))
            except KafkaError:
                await _require_login(broker, server)
                raise
            return {
                f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                for _, host, port, *_ in metadata.brokers
            }
    except TimeoutError:
        return f"no answer within {_PROBE_SECONDS} s"
    except ssl.SSLCertVerificationError as refused:
        raise ConfigurationError(
            "broker.tls.ca_file",
            expected=f"a certificate of {server} that is trusted by {broker.tls.ca_file or 'the system'}",
            found=refused.verify_message,
            hint="set ca_file to the authority that signed it, and broker.url to a host name in the certificate",
        ) from refused
    except ssl.SSLError as refused:
        raise ConfigurationError(
            "broker.tls",
            expected=f"TLS at {server}",
            found=_reason(refused),
            hint="correct broker.url or broker.tls",
        ) from refused
    except SaslAuthenticationFailed as refused:
        raise ConfigurationError(
            "broker.sasl",
            expected=f"{server} to authenticate user {broker.sasl.username}",
            found=str(refused),
            hint="correct the user name or the password, or create the user in Kafka",
        ) from refused
    except UnsupportedSaslMechanismError as refused:
        raise ConfigurationError(
            "broker.sasl.mechanism",
            expected=f"a mechanism that {server} supports",
            found=str(broker.sasl.mechanism),
            hint="see sasl.enabled.mechanisms of the broker",
        ) from refused
    except IllegalSaslStateError as refused:
        raise ConfigurationError(
            "broker.sasl.mechanism",
            expected=f"none, since {server} does not authenticate clients",
            found=str(broker.sasl.mechanism),
            hint="remove broker.sasl, or set broker.url to a listener with SASL",
        ) from refused
    except OSError as refused:
        if broker.tls.enabled and isinstance(refused, ConnectionError):
            await _require_no_tls(server, refused)
        return _system_message(refused)
    except KafkaError as refused:
        _check_tls(broker, server, refused.__cause__)
        return f"{server} closes the connection: not ready yet, or broker.tls or broker.sasl does not match"


@asynccontextmanager
async def _connection(server: str, **security: Any) -> AsyncIterator[AIOKafkaConnection]:
    host, _, port = server.rpartition(":")
    connection = await create_conn(
        host.strip("[]"), int(port), request_timeout_ms=_PROBE_SECONDS * 1000, **security
    )
    try:
        yield connection
    finally:
        connection.close()


async def _require_login(broker: BrokerSettings, server: str) -> None:
    """A listener with SASL closes the connection of a client that sends a request before it has logged in."""
    if broker.sasl.mechanism:
        return
    try:
        async with _connection(server, **security_arguments(broker)) as connection:
            offered = (await connection.send(SaslHandShakeRequest("PLAIN"))).enabled_mechanisms
    except (KafkaError, OSError):
        return
    if offered:
        raise ConfigurationError(
            "broker.sasl.mechanism",
            expected=f"one of {', '.join(sorted(offered))}, since {server} authenticates clients",
            found="none",
            hint="set broker.sasl",
        )


async def _require_no_tls(server: str, cause: OSError) -> None:
    """A listener without TLS closes the connection of a client that begins with a TLS handshake."""
    try:
        async with _connection(server):
            pass
    except (KafkaError, OSError):
        return
    raise ConfigurationError(
        "broker.tls.enabled",
        expected=f"false, since {server} does not use TLS",
        found="true",
        hint="correct it, or set broker.url to a listener with TLS",
    ) from cause


def _check_tls(broker: BrokerSettings, server: str, cause: BaseException | None) -> None:
    """Raise ConfigurationError if the connection was closed because of TLS."""
    if isinstance(cause, asyncio.IncompleteReadError) and cause.expected in _TLS_ALERTS:
        raise ConfigurationError(
            "broker.tls.enabled",
            expected=f"true, since {server} uses TLS",
            found="false",
            hint="correct it, or set broker.url to a listener without TLS",
        ) from cause
    if isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or ""):
        raise ConfigurationError(
            "broker.tls.cert_file",
            expected=f"a client certificate that {server} accepts",
            found="none" if broker.tls.cert_file is None else f"the broker's answer: {_reason(cause)}",
            hint="set cert_file and key_file to a certificate of an authority that the broker trusts",
        ) from cause


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


def _system_message(error: OSError) -> str:
    # asyncio's message repeats the address.
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(error.strerror or error) or "the connection was closed"
