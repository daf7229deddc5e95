"""Kafka as configured in docker-compose.yaml: properties, listeners and JMX."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from tests.support.compose import kafka_environment, kafka_properties
from tests.support.kafka import KafkaBroker, java
from tests.support.produce import consume_all, create_topic, produce

pytestmark = pytest.mark.kafka
JMX = Path(__file__).parents[1] / "support" / "ReadJmx.java"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    with contextlib.ExitStack() as stack:
        stack.callback(broker.kill)
        broker.start()
        yield broker


@pytest.mark.parametrize("service", ["kafka", "kafka-tls", "kafka-sasl"])
def test_the_tests_derive_the_same_properties_as_the_kafka_image(service: str, tmp_path: Path) -> None:
    own = kafka_environment(service) | {"KAFKA_LOG_DIRS": str(tmp_path / "data")}
    for folder in ("default", "mounted", "final"):
        (tmp_path / folder).mkdir()
    (tmp_path / "final" / "server.properties").touch()
    # The program with which the image derives the properties.
    tool = [*java("-Xmx128m"), "kafka.docker.KafkaDockerWrapper", "setup"]
    folders = ["-D", f"{tmp_path}/default", "-M", f"{tmp_path}/mounted", "-F", f"{tmp_path}/final"]
    done = subprocess.run(
        [*tool, *folders], env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "final" / "server.properties").read_text().split("\n")
    assert dict(line.split("=", 1) for line in lines if line) == kafka_properties(own)


@pytest.mark.parametrize("listener", ["INTERNAL", "EXTERNAL", "DOCKER"])
def test_each_listener_accepts_and_returns_a_record(plain: KafkaBroker, listener: str) -> None:
    address, topic = plain.addresses[listener], f"through-{listener}"
    advertised = AdminClient({"bootstrap.servers": address}).list_topics(timeout=10).brokers[1]
    assert f"{advertised.host}:{advertised.port}" == address
    create_topic(address, topic)
    produce(address, topic, [listener.encode()])
    assert [record.value for record in consume_all(address, topic)] == [listener.encode()]


def test_jmx_reports_the_number_of_produced_records(plain: KafkaBroker) -> None:
    create_topic(plain.bootstrap, "measured")
    produce(plain.bootstrap, "measured", [b"1", b"2", b"3"])
    name = "kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec,topic=measured"
    command = ["java", str(JMX), f"127.0.0.1:{plain.jmx}", name, "Count"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "3", done.stderr
