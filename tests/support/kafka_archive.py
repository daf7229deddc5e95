"""``python -m tests.support.kafka_archive``: archives the classes of a broker, so that others start faster.

The JVM loads them from the archive instead of finding, reading and verifying them in jars (class data sharing).
"""

import os
import tempfile
from pathlib import Path

from tests.support.kafka import ARCHIVE, KafkaBroker
from tests.support.produce import consume_all, create_topic, produce


def main() -> None:
    """Write the archive.

    Raises:
        AssertionError: if the JVM has written none, with the log of the broker.
    """
    part = ARCHIVE.with_suffix(".part")
    ARCHIVE.unlink(missing_ok=True)
    # The JVM writes it when it ends. Formatting the storage writes one as well, which the broker's replaces.
    os.environ["JDK_JAVA_OPTIONS"] = f"-XX:ArchiveClassesAtExit={part}"
    with tempfile.TemporaryDirectory(prefix="sparkle-kafka-") as folder:
        broker = KafkaBroker(Path(folder))
        broker.start()
        try:
            create_topic(broker.bootstrap, "archived", 4)
            produce(broker.bootstrap, "archived", [b"record"] * 1000)
            assert len(consume_all(broker.bootstrap, "archived")) == 1000
        finally:
            broker.stop()
        assert part.exists(), broker.process.log.read_text()
    part.replace(ARCHIVE)


if __name__ == "__main__":
    main()
