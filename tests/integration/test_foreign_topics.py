"""Topics that somebody else created, with other settings than the handler would choose."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.kafka import LIBS, KafkaBroker
from tests.support.produce import consume_all, create_topic, produce
from tests.support.worker import Worker, Workspace, run_command

pytestmark = pytest.mark.kafka
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PARTITIONS = 4


def own_topics(workspace: Workspace) -> dict[str, str]:
    """Names of the handler's own topics of the plugin Temperature, and of the dead-letter topic."""
    return {
        "samples": f"{workspace.app_id}-Temperature-samples",
        "changelog": f"{workspace.app_id}-Temperature-60s-changelog",
        "dead letters": f"{workspace.app_id}-dead-letters",
    }


def set_config(bootstrap: str, topic: str, name: str, value: str) -> None:
    """Change the configuration of a topic."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    # Keep a reference until the response arrives.
    admin = AdminClient({"bootstrap.servers": bootstrap})
    (altered,) = admin.incremental_alter_configs([resource]).values()
    altered.result(20)


def counted(worker: Worker, host: str) -> int:
    """The number of readings in the last hour."""
    status, answer = worker.get(f"/api/v1/plugins/Temperature/hosts/{host}?window=1h")
    return sum(metric["count"] for metric in answer["metrics"].values()) if status == 200 else 0


@SQLITE
def test_every_compression_codec_is_read(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    for topic, codec in zip(own_topics(workspace).values(), ["lz4", "zstd", "snappy"], strict=True):
        create_topic(
            broker.bootstrap, topic, PARTITIONS, compression_type=codec, max_message_bytes="16777216"
        )
    collector = Collector(workspace.certs)
    worker = start_worker()
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    for codec in codecs:
        values = [collector.record(f"host-{codec}", "Temperature", f"core {n}", 20.0) for n in range(100)]
        # A record batch of a few bytes is not compressed.
        produce(broker.bootstrap, workspace.topic, [*values, b"x" * 2000], compression=codec)
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 500)
    hosts = [f"host-{codec}" for codec in codecs]
    eventually(lambda: [counted(worker, host) for host in hosts], lambda found: found == [100] * 5)
    # What SQL lacks is recomputed.
    eventually(lambda: count(database_url, "temperature_aggregates"), lambda found: found == 500)
    assert worker.terminate() == 0
    # The bucket table is recovered from the changelog topic.
    worker = start_worker()
    assert [counted(worker, host) for host in hosts] == [100] * 5
    environment = workspace.environment(broker.bootstrap, database_url)
    assert "5 dead letters" in run_command(environment, "dead-letters").stdout
    log = (workspace.folder / "worker-2.log").read_text()
    assert "restored from stored readings" not in log


@SQLITE
def test_a_codec_that_cannot_be_read_is_named(
    broker: Broker, workspace: Workspace, database_url: str, tmp_path: Path
) -> None:
    # An environment without cramjam, which has no wheel for some processors.
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "cramjam.py").write_text("raise ImportError")
    inherited = workspace.environment(broker.bootstrap, database_url)
    folders = [str(tmp_path / "without"), *filter(None, [inherited.get("PYTHONPATH")])]
    environment = inherited | {"PYTHONPATH": os.pathsep.join(folders)}
    create_topic(broker.bootstrap, workspace.topic, PARTITIONS)
    collector = Collector(workspace.certs)
    checked = run_command(environment, "check")
    assert checked.returncode == 0
    warning = "the package cramjam is not installed: records compressed with snappy, lz4, zstd cannot be read"
    assert f"broker: warning: {warning}" in checked.stdout
    worker = Worker(environment, workspace.folder / "worker-1.log")
    worker.start()
    worker.wait_ready()
    assert warning in worker.process.log.read_text()
    values = [collector.record("host-1", "Temperature", f"core {n}", 20.0) for n in range(100)]
    produce(broker.bootstrap, workspace.topic, values, compression="zstd")
    worker.wait_failure()
    assert "a record cannot be read: UnsupportedCodecError" in worker.process.tail(1)
    samples = own_topics(workspace)["samples"]
    set_config(broker.bootstrap, samples, "compression.type", "lz4")
    line = (
        f"topic {samples}: expected the package cramjam, since compression.type is lz4, found none;"
        " pip install cramjam"
    )
    assert f"ERROR broker: {line}" in run_command(environment, "check").stdout
    worker.start()
    worker.wait_failure()
    assert line in worker.process.tail(1)
    assert count(database_url, "temperature_readings") == 0


@SQLITE
def test_messages_are_split_to_what_the_topics_take(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    for topic in own_topics(workspace).values():
        create_topic(broker.bootstrap, topic, PARTITIONS, max_message_bytes="131072")
    create_topic(broker.bootstrap, workspace.topic, PARTITIONS)
    collector = Collector(workspace.certs)
    # 1,500 metrics of 150 characters: the samples of a batch, and the bucket, exceed the limit.
    names = [f"{n:04}".ljust(150, "x") for n in range(1500)]
    large = b"x" * 100_000
    produce(broker.bootstrap, workspace.topic, [large], partition=0)
    produce(
        broker.bootstrap,
        workspace.topic,
        [collector.record("host-1", "Temperature", name, 20.0) for name in names],
        partition=1,
    )
    worker = start_worker()
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 1500)
    eventually(lambda: counted(worker, "host-1"), lambda found: found == 1500)
    messages = consume_all(broker.bootstrap, own_topics(workspace)["samples"])
    assert (
        max(len(message.value or b"") for message in messages)
        < 131072
        < sum(len(message.value or b"") for message in messages)
    )
    (letter,) = consume_all(broker.bootstrap, own_topics(workspace)["dead letters"])
    assert (letter.value, dict(letter.headers)["sparkle-size"]) == (b"", b"100000")
    worker.kill()
    worker = start_worker()
    assert counted(worker, "host-1") == 1500
    found = query(database_url, 'SELECT sum("count") AS n FROM temperature_aggregates')
    assert found[0]["n"] == 1500
    checked = run_command(workspace.environment(broker.bootstrap, database_url), "check")
    assert checked.returncode == 0
    for topic in own_topics(workspace).values():
        line = f"topic {topic}: expected max.message.bytes=16777216, found 131072"
        assert line in checked.stdout
        assert line in (workspace.folder / "worker-1.log").read_text()


@SQLITE
def test_a_limit_that_is_lowered_meanwhile_takes_one_restart(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    collector = Collector(workspace.certs)
    worker = start_worker()
    topic = own_topics(workspace)["samples"]
    set_config(broker.bootstrap, topic, "max.message.bytes", "131072")
    names = [f"{n:04}".ljust(150, "x") for n in range(1500)]
    values = [collector.record("host-1", "Temperature", name, 20.0) for name in names]
    # So that they are one batch.
    worker.process.send(signal.SIGSTOP)
    produce(broker.bootstrap, workspace.topic, values, partition=1)
    worker.process.send(signal.SIGCONT)
    worker.wait_failure()
    assert f"topic {topic}: expected max.message.bytes=16777216" in worker.process.tail(3)
    worker = start_worker()
    eventually(lambda: counted(worker, "host-1"), lambda found: found == 1500)


@SQLITE
def test_a_topic_with_which_a_worker_cannot_work_is_named(
    broker: Broker, workspace: Workspace, database_url: str
) -> None:
    topics = own_topics(workspace)
    create_topic(broker.bootstrap, topics["samples"], PARTITIONS, max_message_bytes="50000")
    create_topic(broker.bootstrap, topics["dead letters"], PARTITIONS, max_message_bytes="16777216")
    Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, database_url)
    checked = run_command(environment, "check")
    line = (
        f"topic {topics['samples']}: expected max.message.bytes of at least 131072, preferably 16777216, found 50000;"
        f" kafka-configs.sh --alter --topic {topics['samples']} --add-config max.message.bytes=16777216"
    )
    assert f"ERROR broker: {line}" in checked.stdout
    worker = Worker(environment, workspace.folder / "worker-1.log")
    worker.start()
    worker.wait_failure()
    assert line in worker.process.tail(1)
    set_config(broker.bootstrap, topics["samples"], "max.message.bytes", "16777216")
    set_config(broker.bootstrap, topics["samples"], "cleanup.policy", "compact")
    assert (
        f"ERROR broker: topic {topics['samples']}: expected cleanup.policy=delete, found compact, with which the broker"
        " refuses messages without a key; kafka-configs.sh"
    ) in run_command(environment, "check").stdout
    set_config(broker.bootstrap, topics["samples"], "cleanup.policy", "delete")
    checked = run_command(environment, "check")
    assert checked.returncode == 0
    policy = f"warning: topic {topics['dead letters']}: expected cleanup.policy=compact, found delete"
    assert policy in checked.stdout


POLICY = """
import java.util.Map;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.CreateTopicPolicy;

public class OneMegabyte implements CreateTopicPolicy {
    public void configure(Map<String, ?> configs) {}
    public void close() {}
    public void validate(RequestMetadata request) {
        if (request.configs().containsKey("max.message.bytes"))
            throw new PolicyViolationException("house rule 7: the size of messages is not yours to set");
    }
}
"""


@SQLITE
def test_the_reason_of_a_policy_is_shown(tmp_path: Path, workspace: Workspace, database_url: str) -> None:
    (tmp_path / "OneMegabyte.java").write_text(POLICY)
    # Packages without javac contain the compiler, too. Only javac itself knows wildcards.
    jars = os.pathsep.join(map(str, LIBS.glob("*.jar")))
    compile_ = ["java", "-m", "jdk.compiler/com.sun.tools.javac.Main", "-cp", jars, "OneMegabyte.java"]
    subprocess.run(compile_, cwd=tmp_path, check=True, timeout=120)
    (tmp_path / "kafka").mkdir()
    policy = {"create.topic.policy.class.name": "OneMegabyte"}
    broker = KafkaBroker(tmp_path / "kafka", policy, classpath=tmp_path)
    Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, database_url)
    worker = Worker(environment, workspace.folder / "worker-1.log")
    try:
        broker.start()
        worker.start()
        worker.wait_failure()
        line = worker.process.tail(1)
        assert "house rule 7: the size of messages is not yours to set" in line
        assert "max.message.bytes=16777216" in line
        # What the line recommends.
        for topic in (*own_topics(workspace).values(), f"{workspace.app_id}-PU_Workload-samples"):
            create_topic(broker.bootstrap, topic, PARTITIONS)
        create_topic(broker.bootstrap, f"{workspace.app_id}-PU_Workload-60s-changelog", PARTITIONS)
        worker.start()
        worker.wait_ready()
    finally:
        worker.close()
        broker.kill()
