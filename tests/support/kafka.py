"""Apache Kafka, configured as in docker-compose.yaml, with one broker or three, on free ports of 127.0.0.1."""

import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.broker import answers
from tests.support.compose import kafka_environment, kafka_properties
from tests.support.processes import Process, free_port

LIBS = Path(__file__).parents[2] / ".cache" / "kafka-4.3.1" / "libs"
"""Where ``make test-kafka`` installs the jars of Kafka."""
ARCHIVE = LIBS.parent / "classes.jsa"
"""The classes of a broker for class data sharing, made by kafka_archive.py; a broker starts in half the time."""
FOR_TESTS = {
    # After a kill, the broker can register again only when its previous session has expired.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
}
"""All differences from docker-compose.yaml, except addresses, folders and memory."""
_SECRETS = "/etc/kafka/secrets"
# Most brokers run for seconds: compiling their methods thoroughly would take longer than it saves.
_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class KafkaBroker:
    """A Kafka broker, on ports that do not change between restarts. It stores its records in ``folder``.

    Arguments:
        folder: an empty folder, or that of a broker that has been stopped, whose records this one then has.
        properties: added to those of docker-compose.yaml, or override them.
        service: which service of the file.
        secrets: the folder that is mounted for certificates.
        memory: size of the Java heap.
        classpath: a folder of further Java classes.
        short_lived: whether the JVM saves time at the start rather than later.
    """

    durable = True

    def __init__(
        self,
        folder: Path,
        properties: Mapping[str, str] | None = None,
        *,
        service: str = "kafka",
        secrets: Path | None = None,
        memory: str = "512m",
        classpath: Path | None = None,
        short_lived: bool = True,
    ) -> None:
        environment = kafka_environment(service)
        self.properties = kafka_properties(environment)
        names = re.findall(r"(\w+)://", self.properties["listeners"])
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in names}
        """HOST:PORT of each listener."""
        self.bootstrap = self.addresses["INTERNAL"]
        self.jmx = free_port()
        """The JMX port."""
        self.properties |= {
            "listeners": self._listeners(names),
            "advertised.listeners": self._listeners(name for name in names if name != "CONTROLLER"),
            "controller.quorum.voters": f"1@{self.addresses['CONTROLLER']}",
            "jmx.port": str(self.jmx),
            "log.dirs": str(folder / "data"),
            **{
                name: value.replace(_SECRETS, str(secrets))
                for name, value in self.properties.items()
                if value.startswith(_SECRETS)
            },
            **FOR_TESTS,
            **(properties or {}),
        }
        self._cluster = environment["CLUSTER_ID"]
        self._classpath = classpath
        self._config = folder / "server.properties"
        self._data = folder / "data"
        # The options that the image derives from KAFKA_JMX_PORT and KAFKA_JMX_HOSTNAME.
        jmx = {
            "com.sun.management.jmxremote.port": self.jmx,
            "com.sun.management.jmxremote.rmi.port": self.jmx,
            "com.sun.management.jmxremote.authenticate": "false",
            "com.sun.management.jmxremote.ssl": "false",
            "java.rmi.server.hostname": environment["KAFKA_JMX_HOSTNAME"],
        }
        options = [f"-Xmx{memory}", *(f"-D{name}={value}" for name, value in jmx.items())]
        program = java(*options, classpath=classpath, short_lived=short_lived)
        command = [*program, "kafka.Kafka", str(self._config)]
        self.process = Process("Kafka", command, folder / "kafka.log", folder=folder)

    def advertise(self, listener: str, address: str) -> None:
        """Let clients of a listener connect to another address, which leads to it: that of a proxy."""
        advertised = self.properties["advertised.listeners"]
        self.properties["advertised.listeners"] = advertised.replace(
            f"{listener}://{self.addresses[listener]}", f"{listener}://{address}"
        )

    def start(self) -> None:
        """Start the broker, with the records that it has stored, and wait until it answers."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the broker without waiting."""
        self._config.write_text("".join(f"{key}={value}\n" for key, value in self.properties.items()))
        if not self._data.exists():
            self._format()
        self.process.start()

    def wait_ready(self) -> None:
        """Wait until the broker answers."""
        self.process.wait_until(lambda: answers(self.bootstrap), "answer to a metadata request", 60)

    def stop(self) -> None:
        """Stop the broker gracefully."""
        self.process.stop()

    def kill(self) -> None:
        """Kill the broker with SIGKILL."""
        self.process.kill()

    def _listeners(self, names: Iterable[str]) -> str:
        return ",".join(f"{name}://{self.addresses[name]}" for name in names)

    def _format(self) -> None:
        tool = [
            *java("-Xmx128m", classpath=self._classpath),
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={self._cluster}",
            f"--config={self._config}",
        ]
        done = subprocess.run(tool, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"Kafka's storage could not be formatted: {done.stdout}{done.stderr}"


def cluster(folder: Path, size: int, properties: Mapping[str, str]) -> list[KafkaBroker]:
    """Brokers of a cluster, each of which is a controller as well; not started.

    Arguments:
        properties: properties of every broker.
    """
    brokers = []
    for number in range(1, size + 1):
        (folder / str(number)).mkdir()
        own = {"node.id": str(number), **properties}
        brokers.append(KafkaBroker(folder / str(number), own, memory="256m"))
    voters = ",".join(
        f"{number}@{broker.addresses['CONTROLLER']}" for number, broker in enumerate(brokers, start=1)
    )
    for broker in brokers:
        broker.properties["controller.quorum.voters"] = voters
    return brokers


def java(*options: str, classpath: Path | None = None, short_lived: bool = True) -> list[str]:
    """The first arguments of a command that runs a program of Kafka."""
    return [
        "java",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
        *(_SHORT_LIVED if short_lived else ()),
        # Without a message if another JVM has made it.
        *(
            [f"-XX:SharedArchiveFile={ARCHIVE}", "-Xlog:disable", "-Xlog:all=error"]
            if ARCHIVE.exists()
            else []
        ),
        *options,
        "-cp",
        f"{LIBS}/*" + (f":{classpath}" if classpath else ""),
    ]


def consumer_groups(script: str) -> str:
    """Run a bash script that calls kafka-consumer-groups.sh, such as one from the documentation; returns its output.

    Raises:
        AssertionError: if a command fails.
    """
    tool = " ".join(
        map(shlex.quote, [*java("-Xmx128m"), "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"])
    )
    lines = f'set -e\nkafka-consumer-groups.sh() {{ {tool} "$@"; }}\n{script}'
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{script}{done.stdout}{done.stderr}"
    return done.stdout + done.stderr
