"""A stand-in for the deployed collector, written from docs/wire-format.md. It uses no code of the project.

    python deployed_collector.py FOLDER SERVER [COLLECTIONS]

It reads config.tar.xz in FOLDER, produces one record for each item of each required plugin, and prints the items as
lines of JSON: once, or as often as COLLECTIONS says, a second apart. It requires confluent-kafka,
pycryptodome and PyYAML.
"""

import base64
import importlib
import json
import socket
import subprocess
import sys
import tarfile
import time
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from confluent_kafka import Producer
from Crypto.Cipher import PKCS1_OAEP
from Crypto.PublicKey import RSA


def unpack(folder: Path) -> tuple[dict[str, Any], RSA.RsaKey]:
    """The configuration and the public key of the archive. Plugins are unpacked if a required one is missing."""
    with tarfile.open(folder / "config.tar.xz", "r:xz") as archive:
        config = yaml.safe_load(read(archive, "config.yaml"))
        key = RSA.import_key(read(archive, "rsa_key.pub"))
        wanted = set(config["required_plugins"])
        if wanted - installed(folder).keys():
            members = [member for member in archive.getmembers() if member.name.startswith("plugins/")]
            # Python 3.11 has filters from 3.11.4 on.
            if hasattr(tarfile, "data_filter"):
                archive.extractall(folder, members=members, filter="data")
            else:
                archive.extractall(folder, members=members)
            for requirements in folder.glob("plugins/*/requirements.txt"):
                if requirements.read_text().strip():
                    subprocess.run(
                        [sys.executable, "-m", "pip", "install", "-q", "-r", str(requirements)], check=True
                    )
    return config, key


def read(archive: tarfile.TarFile, name: str) -> bytes:
    """The content of a file in the archive."""
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name}: expected a file")
    return file.read()


def installed(folder: Path) -> dict[str, ModuleType]:
    """Packages in plugins/ by NAME."""
    found = {}
    for file in sorted(folder.glob("plugins/*/__init__.py")):
        module = importlib.import_module(f"plugins.{file.parent.name}")
        for attribute in ("NAME", "VERSION", "AUTHOR", "TOPIC", "get_payload"):
            getattr(module, attribute)
        found[module.NAME] = module
    return found


def collect(plugin: ModuleType, config_id: int, key: RSA.RsaKey, producer: Producer) -> None:
    """Produce and print the items of a plugin."""
    for item, value in plugin.get_payload().items():
        inner = json.dumps({"plugin": plugin.NAME, "key": item, "value": value}).encode("utf-8")
        record = {
            "config_id": config_id,
            "hostname": socket.gethostname(),
            "datetime": datetime.now().isoformat(),
            "payload": base64.b64encode(PKCS1_OAEP.new(key).encrypt(inner)).decode("ascii"),
        }
        producer.produce(plugin.TOPIC, json.dumps(record).encode("utf-8"))
        print(json.dumps({"plugin": plugin.NAME, "key": item, "value": value, "topic": plugin.TOPIC}))


def main() -> None:
    """Collect and produce."""
    folder, server = Path(sys.argv[1]), sys.argv[2]
    sys.path.insert(0, str(folder))
    config, key = unpack(folder)
    importlib.invalidate_caches()
    plugins = installed(folder)
    producer = Producer({"bootstrap.servers": server, "acks": "all"})
    for collection in range(int(sys.argv[3]) if len(sys.argv) > 3 else 1):
        time.sleep(1 if collection else 0)
        for name in config["required_plugins"]:
            collect(plugins[name], config["id"], key, producer)
    unacknowledged = producer.flush(30)
    sys.exit(f"{unacknowledged} records were not acknowledged" if unacknowledged else 0)


if __name__ == "__main__":
    main()
