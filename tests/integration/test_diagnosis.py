"""Why a broker cannot be used: settings that do not match its listeners, refused logins, unreachable addresses."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.kafka.diagnosis import explain_failure
from sparkle_app.model.errors import ConfigurationError
from tests.support.certificates import Authority
from tests.support.collector import Collector
from tests.support.eventually import eventually
from tests.support.kafka import KafkaBroker
from tests.support.processes import free_port
from tests.support.worker import Worker, Workspace, run_command

pytestmark = pytest.mark.kafka
LOGIN = {"mechanism": "SCRAM-SHA-512", "username": "worker", "password": "hunter2"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.of_kafka(tmp_path_factory.mktemp("kafka-certs"))


@pytest.fixture(scope="module")
def kafka(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """INTERNAL is a plain listener, EXTERNAL one with SASL over TLS."""
    secrets = authority.certificate.parent
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"), service="kafka-sasl", secrets=secrets)
    broker.start()
    yield broker
    broker.kill()


@pytest.mark.parametrize(
    ("listener", "with_tls", "with_login", "says"),
    [
        (
            "INTERNAL",
            True,
            False,
            "broker.tls.enabled: expected false, since {} does not use TLS, found true;",
        ),
        (
            "INTERNAL",
            True,
            True,
            "broker.tls.enabled: expected false, since {} does not use TLS, found true;",
        ),
        (
            "INTERNAL",
            False,
            True,
            "broker.sasl.mechanism: expected none, since {} does not authenticate clients",
        ),
        ("EXTERNAL", False, False, "broker.tls.enabled: expected true, since {} uses TLS, found false;"),
        ("EXTERNAL", False, True, "broker.tls.enabled: expected true, since {} uses TLS, found false;"),
        (
            "EXTERNAL",
            True,
            False,
            "broker.sasl.mechanism: expected one of SCRAM-SHA-512, since {} authenticates",
        ),
        ("EXTERNAL", True, True, "broker.sasl: expected {} to authenticate user worker, found"),
    ],
)
@pytest.mark.parametrize("first", ["", "a server that is down"])
async def test_settings_that_do_not_match_a_listener_are_named(
    kafka: KafkaBroker,
    authority: Authority,
    listener: str,
    with_tls: bool,
    with_login: bool,
    says: str,
    first: str,
) -> None:
    address = kafka.addresses[listener]
    sections: dict[str, Any] = {"url": f"127.0.0.1:{free_port()},{address}" if first else address}
    if with_tls:
        sections["tls"] = {"enabled": True, "ca_file": authority.certificate}
    if with_login:
        sections["sasl"] = LOGIN
    with pytest.raises(ConfigurationError) as caught:
        await explain_failure(BrokerSettings.model_validate(sections), ValueError("it failed"))
    assert says.format(address) in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_the_error_itself_is_the_answer_if_the_broker_works(kafka: KafkaBroker) -> None:
    working = BrokerSettings(url=kafka.bootstrap)
    assert await explain_failure(working, ValueError("it failed")) == "it failed"
    # An error without a text is named by its type.
    assert await explain_failure(working, ValueError()) == "ValueError"
    assert await explain_failure(working, None) == ""


async def test_each_of_several_servers_is_named_if_their_causes_differ() -> None:
    down = f"127.0.0.1:{free_port()}"
    assert await explain_failure(BrokerSettings(url=f"{down},{down}"), ValueError()) == "Connection refused"
    found = await explain_failure(BrokerSettings(url=f"{down},no-such-host.invalid:9092"), ValueError())
    assert f"{down}: Connection refused; no-such-host.invalid:9092: " in found


def test_check_and_worker_name_the_setting_that_does_not_match(
    kafka: KafkaBroker, authority: Authority, workspace: Workspace, tmp_path: Path
) -> None:
    Collector(workspace.certs)
    tls = {"broker__tls__enabled": True, "broker__tls__ca_file": authority.certificate}
    environment = workspace.environment(kafka.bootstrap, f"sqlite:///{tmp_path}/x.sqlite3", **tls)
    says = f"broker.tls.enabled: expected false, since {kafka.bootstrap} does not use TLS, found true"
    assert f"ERROR broker: {says}" in run_command(environment, "check").stdout
    worker = Worker(environment, workspace.folder / "worker.log")
    worker.start()
    try:
        assert says in worker.wait_failure().strip().splitlines()[-1]
    finally:
        worker.close()


def test_an_advertised_address_that_nobody_can_reach_is_named(workspace: Workspace, tmp_path: Path) -> None:
    Collector(workspace.certs)
    (tmp_path / "kafka").mkdir()
    broker = KafkaBroker(tmp_path / "kafka")
    nowhere = f"127.0.0.1:{free_port()}"
    advertised = broker.properties["advertised.listeners"].replace(broker.bootstrap, nowhere)
    broker.properties["advertised.listeners"] = advertised
    says = f"{nowhere}, which the broker advertises: Connection refused"
    try:
        broker.launch()
        settings = BrokerSettings(url=broker.bootstrap)
        eventually(
            lambda: asyncio.run(explain_failure(settings, ValueError())), lambda found: found == says, 120
        )
        environment = workspace.environment(broker.bootstrap, f"sqlite:///{tmp_path}/x.sqlite3")
        checked = run_command(environment, "check")
        assert f"expected a broker at {broker.bootstrap}, found {says};" in checked.stdout
    finally:
        broker.kill()


def test_a_worker_says_that_its_changed_password_is_refused(
    kafka: KafkaBroker, authority: Authority, workspace: Workspace, tmp_path: Path
) -> None:
    Collector(workspace.certs)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})

    def set_password(password: str) -> None:
        secret = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion("worker", secret, password.encode())
        admin.alter_user_scram_credentials([change])["worker"].result(20)

    set_password(LOGIN["password"])
    address = kafka.addresses["EXTERNAL"]
    environment = workspace.environment(
        address,
        f"sqlite:///{tmp_path}/x.sqlite3",
        broker__tls__enabled=True,
        broker__tls__ca_file=authority.certificate,
        **{f"broker__sasl__{key}": value for key, value in LOGIN.items()},
    )
    worker = Worker(environment, workspace.folder / "worker.log")
    worker.start()
    try:
        worker.wait_ready()
        set_password("another")
        # Open connections stay authenticated.
        kafka.stop()
        kafka.start()
        # A broker that takes longer to restart is unreachable at first; the reminder comes after a minute.
        says = re.compile(
            rf"the broker at {address} has not answered for \d+ s; waiting for it:"
            rf" broker.sasl: expected {address} to authenticate user worker, found"
        )
        eventually(worker.process.log.read_text, lambda log: bool(says.search(log)), 150)
        assert "hunter2" not in worker.process.log.read_text()
        set_password(LOGIN["password"])
        eventually(worker.process.log.read_text, lambda log: "answers again" in log, 120)
    finally:
        worker.close()
