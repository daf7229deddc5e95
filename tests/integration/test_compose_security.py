"""The profiles for collectors outside a trusted network: mutual TLS, SASL over TLS, and ACLs."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.support.certificates import Authority
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.kafka import KafkaBroker
from tests.support.produce import consume_all, create_topic, produce
from tests.support.worker import Worker, Workspace, run_command

pytestmark = pytest.mark.kafka
PASSWORD = "correct horse"
Start = Callable[..., Worker]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.of_kafka(tmp_path_factory.mktemp("kafka-certs"))


@pytest.fixture(scope="module")
def make_kafka(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], KafkaBroker]]:
    """A function that starts one of the Kafka services of docker-compose.yaml."""
    started: list[KafkaBroker] = []

    def make(service: str) -> KafkaBroker:
        secrets = authority.certificate.parent
        started.append(KafkaBroker(tmp_path_factory.mktemp(service), service=service, secrets=secrets))
        started[-1].start()
        return started[-1]

    yield make
    for broker in started:
        broker.kill()


@pytest.fixture(scope="module")
def tls(make_kafka: Callable[[str], KafkaBroker]) -> KafkaBroker:
    return make_kafka("kafka-tls")


@pytest.fixture(scope="module")
def sasl(make_kafka: Callable[[str], KafkaBroker]) -> KafkaBroker:
    broker = make_kafka("kafka-sasl")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    secret = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    for user in ("worker", "collector"):
        made = admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(user, secret, PASSWORD.encode())]
        )
        made[user].result(20)
    return broker


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'readings.sqlite3'}"


@pytest.fixture
def start(workspace: Workspace, database_url: str) -> Iterator[Start]:
    """``start(url, **settings)`` starts a worker that connects to this broker, without waiting until it is ready."""
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:

        def start(url: str, **settings: object) -> Worker:
            environment = workspace.environment(url, database_url, **settings)
            worker = Worker(environment, workspace.folder / f"worker-{next(numbers)}.log")
            stack.callback(worker.close)
            worker.start()
            return worker

        yield start


def with_tls(authority: Authority, name: str | None = None) -> dict[str, object]:
    """Settings of a worker that trusts the CA and, with ``name``, has a client certificate of it."""
    settings: dict[str, object] = {
        "broker__tls__enabled": True,
        "broker__tls__ca_file": authority.certificate,
    }
    if name:
        settings["broker__tls__cert_file"], settings["broker__tls__key_file"] = authority.issue(name)
    return settings


def with_login(password: str = PASSWORD) -> dict[str, object]:
    login = {"mechanism": "SCRAM-SHA-512", "username": "worker", "password": password}
    return {f"broker__sasl__{key}": value for key, value in login.items()}


def refusal(worker: Worker) -> str:
    """The last line in the log of a worker that exits with an error."""
    log = worker.wait_failure()
    assert PASSWORD not in log
    return log.strip().splitlines()[-1]


def client(broker: KafkaBroker, authority: Authority, user: str, password: str) -> dict[str, str]:
    """Configuration of a collector outside the trusted network."""
    return {
        "bootstrap.servers": broker.addresses["EXTERNAL"],
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(authority.certificate),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password,
        "message.timeout.ms": "10000",
    }


def sent(configuration: dict[str, str], topic: str, value: bytes) -> str:
    """Produce a record; returns the name of Kafka's error, or an empty string if it was acknowledged."""
    told: list[str] = []
    producer = Producer(configuration)
    producer.produce(topic, value, on_delivery=lambda error, _: told.append(error.name() if error else ""))
    assert producer.flush(20) == 0
    return told[0]


def test_a_worker_consumes_readings_over_tls(
    tls: KafkaBroker, authority: Authority, workspace: Workspace, start: Start, database_url: str
) -> None:
    collector = Collector(workspace.certs)
    worker = start(tls.addresses["EXTERNAL"], **with_tls(authority, "worker"))
    worker.wait_ready()
    certificate, key = authority.issue("collector")
    own = {
        "bootstrap.servers": tls.addresses["EXTERNAL"],
        "security.protocol": "SSL",
        "ssl.ca.location": str(authority.certificate),
        "ssl.certificate.location": str(certificate),
        "ssl.key.location": str(key),
    }
    assert sent(own, workspace.topic, collector.record("host", "Temperature", "k", 20.0)) == ""
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 1)
    environment = workspace.environment(
        tls.addresses["EXTERNAL"], database_url, **with_tls(authority, "worker")
    )
    checked = run_command(environment, "check")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_worker_that_trusts_another_ca_exits_with_one_line(
    tls: KafkaBroker, workspace: Workspace, start: Start, tmp_path: Path, database_url: str
) -> None:
    Collector(workspace.certs)
    other = tmp_path / "other"
    other.mkdir()
    wrong = with_tls(Authority(other, "Another CA"), "worker")
    address = tls.addresses["EXTERNAL"]
    says = f"broker.tls.ca_file: expected a certificate of {address} that is trusted by {other}/ca.crt, found"
    assert says in refusal(start(address, **wrong))
    checked = run_command(workspace.environment(address, database_url, **wrong), "check")
    assert f"ERROR broker: {says}" in checked.stdout


def test_a_worker_without_a_certificate_exits_with_one_line(
    tls: KafkaBroker, authority: Authority, workspace: Workspace, start: Start
) -> None:
    Collector(workspace.certs)
    address = tls.addresses["EXTERNAL"]
    worker = start(address, **with_tls(authority))
    says = f"broker.tls.cert_file: expected a client certificate that {address} accepts, found none"
    assert says in refusal(worker)


def test_a_worker_consumes_readings_over_sasl(
    sasl: KafkaBroker, authority: Authority, workspace: Workspace, start: Start, database_url: str
) -> None:
    collector = Collector(workspace.certs)
    worker = start(sasl.addresses["EXTERNAL"], **with_tls(authority), **with_login())
    worker.wait_ready()
    record = collector.record("host", "Temperature", "k", 20.0)
    assert sent(client(sasl, authority, "collector", PASSWORD), workspace.topic, record) == ""
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 1)
    assert PASSWORD not in worker.process.log.read_text()


def test_a_worker_with_a_wrong_password_exits_with_one_line(
    sasl: KafkaBroker, authority: Authority, workspace: Workspace, start: Start, database_url: str
) -> None:
    Collector(workspace.certs)
    address, wrong = sasl.addresses["EXTERNAL"], {**with_tls(authority), **with_login("wrong")}
    says = f"broker.sasl: expected {address} to authenticate user worker, found"
    assert says in refusal(start(address, **wrong))
    checked = run_command(workspace.environment(address, database_url, **wrong), "check")
    assert f"ERROR broker: {says}" in checked.stdout


def test_a_worker_that_may_not_join_its_group_says_so_and_joins_it_as_soon_as_it_may(
    sasl: KafkaBroker, authority: Authority, workspace: Workspace, start: Start, database_url: str
) -> None:
    collector = Collector(workspace.certs)
    admin = AdminClient({"bootstrap.servers": sasl.bootstrap})

    group: tuple[Any, ...] = (ResourceType.GROUP, workspace.app_id, ResourcePatternType.LITERAL)
    denied = (*group, "User:worker", "*", AclOperation.READ, AclPermissionType.DENY)
    for made in admin.create_acls([AclBinding(*denied)]).values():
        made.result(20)
    worker = start(sasl.addresses["EXTERNAL"], **with_tls(authority), **with_login())
    line = f"consumer group {workspace.app_id}: the broker refuses this worker, trying again: [Error 30]"
    log = eventually(worker.process.log.read_text, lambda text: line in text, 60)
    assert "permit READ on the group" in log
    status, ready = worker.get("/health/ready")
    assert (status, "GroupAuthorizationFailed" in ready["checks"]["broker"]) == (503, True)
    for deleted in admin.delete_acls([AclBindingFilter(*denied)]).values():
        deleted.result(20)
    worker.wait_ready()
    record = collector.record("host", "Temperature", "k", 20.0)
    assert sent(client(sasl, authority, "collector", PASSWORD), workspace.topic, record) == ""
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 1)
    log = worker.process.log.read_text()
    assert "has not answered" not in log
    assert log.count(line) == 1


def test_acls_can_restrict_a_collector_to_writing_to_its_topics(
    sasl: KafkaBroker, authority: Authority
) -> None:
    admin = AdminClient({"bootstrap.servers": sasl.bootstrap})
    for topic in ("telemetry", "sparkle-samples"):
        create_topic(sasl.bootstrap, topic)
    collector = client(sasl, authority, "collector", PASSWORD)
    assert sent(collector, "sparkle-samples", b"before") == ""

    def allow(kind: ResourceType, name: str, user: str, operation: AclOperation) -> AclBinding:
        whole = (kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation)
        return AclBinding(*whole, AclPermissionType.ALLOW)

    rules = [
        allow(ResourceType.TOPIC, "*", "admin", AclOperation.ALL),
        allow(ResourceType.GROUP, "*", "admin", AclOperation.ALL),
        allow(ResourceType.BROKER, "kafka-cluster", "admin", AclOperation.ALL),
        allow(ResourceType.TOPIC, "telemetry", "collector", AclOperation.WRITE),
        allow(ResourceType.TOPIC, "telemetry", "collector", AclOperation.DESCRIBE),
    ]
    for made in admin.create_acls(rules).values():
        made.result(20)
    eventually(
        lambda: sent(collector, "sparkle-samples", b"after"),
        lambda told: told == "TOPIC_AUTHORIZATION_FAILED",
    )
    assert sent(collector, "telemetry", b"reading") == ""
    outside = AdminClient({name: value for name, value in collector.items() if name != "message.timeout.ms"})
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        outside.create_topics([NewTopic("another", 1, 1)])["another"].result(20)
    # Workers use the listener INTERNAL, which requires no authentication.
    assert [record.value for record in consume_all(sasl.bootstrap, "telemetry")] == [b"reading"]
    produce(sasl.bootstrap, "sparkle-samples", [b"a worker's"])
