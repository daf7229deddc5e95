"""Clients that ask the bootstrap servers again.

aiokafka resolves the bootstrap servers once. If all brokers then come back under other addresses, it tries the old ones
for ever (KIP-899 describes the same of the Java client).
"""

from collections.abc import Collection
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import KafkaError

from sparkle_app.kafka.timeouts import create_conn

_BOOTSTRAP = ("bootstrap", ConnectionGroup.DEFAULT)
_SETTINGS = (
    "client_id",
    "request_timeout_ms",
    "ssl_context",
    "security_protocol",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
    "sasl_kerberos_service_name",
    "sasl_kerberos_domain_name",
    "sasl_oauth_token_provider",
)


def rebootstrap(client: AIOKafkaClient) -> None:
    """Make a client ask the bootstrap servers whenever no broker that it knows answers a metadata request."""
    update = client._metadata_update

    async def update_or_bootstrap(cluster: Any, topics: Collection[str]) -> bool:
        if await update(cluster, topics):
            return True
        connection = await _connect(client)
        if not connection:
            return False
        # As after the start: the client uses this connection for metadata requests until one succeeds.
        client._conns[_BOOTSTRAP] = connection
        return bool(await update(cluster, topics))

    client._metadata_update = update_or_bootstrap


async def _connect(client: AIOKafkaClient) -> Any:
    """A connection to the first bootstrap server that answers; None if none does."""
    settings = {name: getattr(client, f"_{name}") for name in _SETTINGS}
    for host, port, _ in client.hosts:
        try:
            return await create_conn(host, port, max_idle_ms=client._connections_max_idle_ms, **settings)
        except (OSError, KafkaError, TimeoutError):
            continue
    return None
