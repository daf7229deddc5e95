"""What the stand-in collector sends is what the handler reads."""

import base64
import json
import random
import tarfile
from datetime import datetime
from pathlib import Path

import pytest
from Crypto.Cipher import PKCS1_OAEP
from Crypto.PublicKey import RSA

from demo.collector import load_archive, make_record, simulated
from sparkle_app.config_archive import make_config
from sparkle_app.plugin.manifest import find_packages

KEY = RSA.generate(2048)
WHEN = datetime(2026, 11, 23, 12, 0, 0, 5)


def test_a_record_has_the_wire_format() -> None:
    record = json.loads(make_record(KEY.public_key(), 7, "хост", WHEN, "Temperature", "k", 1.5))
    assert set(record) == {"config_id", "hostname", "datetime", "payload"}
    assert (record["config_id"], record["hostname"], record["datetime"]) == (
        7,
        "хост",
        "2026-11-23T12:00:00.000005",
    )
    inner = PKCS1_OAEP.new(KEY).decrypt(base64.b64decode(record["payload"]))
    assert json.loads(inner) == {"plugin": "Temperature", "key": "k", "value": 1.5}


def test_an_inner_json_of_214_bytes_is_the_longest() -> None:
    empty = len(json.dumps({"plugin": "P", "key": "", "value": 1}))
    make_record(KEY.public_key(), 7, "h", WHEN, "P", "k" * (214 - empty), 1)
    with pytest.raises(ValueError, match="too long"):
        make_record(KEY.public_key(), 7, "h", WHEN, "P", "k" * (215 - empty), 1)


def test_an_archive_is_unpacked_and_simulated_hosts_are_plausible(tmp_path: Path) -> None:
    plugins = find_packages(Path(__file__).parents[2] / "plugins").manifests
    made = make_config(plugins, address="h", port=1, interval=5, output=tmp_path, certs=tmp_path / "certs")
    archive = load_archive(made.archive, tmp_path / "unpacked")
    assert archive.config["id"] == made.config_id
    assert [plugin.NAME for plugin in archive.plugins] == ["PU_Workload", "Temperature"]
    readings = list(simulated(archive.plugins, 3, random.Random(1)))
    assert {reading[0] for reading in readings} == {"host-001", "host-002", "host-003"}
    assert len(readings) == 3 * 4 * 2
    for _, plugin, _, value in readings:
        assert 0 <= value <= 100, plugin.NAME


def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "evil").write_text("x")
    with tarfile.open(tmp_path / "config.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "evil", "../outside")
    with pytest.raises(tarfile.OutsideDestinationError):
        load_archive(tmp_path / "config.tar.xz", tmp_path / "unpacked")
    assert not (tmp_path / "outside").exists()
