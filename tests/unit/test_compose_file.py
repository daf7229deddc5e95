"""docker-compose.yaml is valid, exposes only protected ports, and fits the handler's settings."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.config.loading import load_settings
from tests.support.compose import FILE, compose
from tests.support.earlier_packages import install
from tests.support.worker import PROJECT

GIVEN = {"POSTGRES_PASSWORD": "p@ss/word", "SPARKLE_WEB__TOKEN": "token"}
KAFKA = {"plain": "kafka", "tls": "kafka-tls", "sasl": "kafka-sasl"}


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = compose(GIVEN)["services"]
    return found


def validate(file: Path) -> int:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode


def test_the_file_conforms_to_the_schema(tmp_path: Path) -> None:
    assert validate(FILE) == 0
    invalid = tmp_path / "docker-compose.yaml"
    invalid.write_text(FILE.read_text().replace("restart:", "restarts:"))
    assert validate(invalid) == 1


@pytest.mark.parametrize("name", GIVEN)
def test_passwords_have_no_default(name: str) -> None:
    with pytest.raises(KeyError, match=f"{name}: set it in .env"):
        compose({key: value for key, value in GIVEN.items() if key != name})
    lines = (PROJECT / ".env.example").read_text().splitlines()
    assert f"{name}=" in lines


def test_the_example_of_the_environment_has_every_variable_with_its_default() -> None:
    example = (PROJECT / ".env.example").read_text()
    shown = dict(re.findall(r"(?m)^#?([A-Z_]+)=(.*)$", example))
    used = dict(re.findall(r"\$\{([A-Z_]+)(?::[-?]([^}]*))?\}", FILE.read_text()))
    assert set(shown) == {*used, "COMPOSE_PROFILES"}
    optional = set(re.findall(r"(?m)^#([A-Z_]+)=", example)) - {"SPARKLE_WEB__OPERATOR_TOKEN"}
    assert {name: shown[name].strip('"') for name in optional} == {name: used[name] for name in optional}


def test_each_profile_has_one_broker_with_the_same_host_name(services: dict[str, Any]) -> None:
    assert {services[name]["profiles"][0]: name for name in KAFKA.values()} == KAFKA
    for name in KAFKA.values():
        assert services[name]["networks"]["default"]["aliases"] == ["kafka"]
        assert services["worker"]["depends_on"][name] == {"condition": "service_healthy", "required": False}


def test_only_protected_ports_are_published_beyond_this_machine(services: dict[str, Any]) -> None:
    published = {name: service.get("ports", []) for name, service in services.items()}
    for name in KAFKA.values():
        assert published.pop(name) == ["0.0.0.0:9092:9092", "0.0.0.0:29092:29092", "127.0.0.1:9999:9999"]
    assert published == {"postgres": [], "worker": ["127.0.0.1:6066-6069:6066"]}
    for profile, protocol in [("plain", "PLAINTEXT"), ("tls", "SSL"), ("sasl", "SASL_SSL")]:
        environment = services[KAFKA[profile]]["environment"]
        protocols = dict(
            part.split(":") for part in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
        )
        assert (protocols["EXTERNAL"], protocols["DOCKER"]) == (protocol, protocol)
        # Anonymous clients may be super users only if they cannot connect from outside.
        if profile == "tls":
            assert environment["KAFKA_SSL_CLIENT_AUTH"] == "required"
        assert ("User:ANONYMOUS" in environment["KAFKA_SUPER_USERS"]) == (profile != "plain")


def test_the_address_for_collectors_is_configurable(services: dict[str, Any]) -> None:
    advertised = "KAFKA_ADVERTISED_LISTENERS"
    assert "EXTERNAL://172.16.0.2:9092" in services["kafka"]["environment"][advertised]
    other = compose({**GIVEN, "KAFKA_EXTERNAL_ADDRESS": "kafka.example.org"})["services"]
    for name in KAFKA.values():
        assert "EXTERNAL://kafka.example.org:9092," in other[name]["environment"][advertised]


def test_every_service_has_a_health_check_and_is_restarted(services: dict[str, Any]) -> None:
    for service in services.values():
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]


def test_no_service_fills_the_disk_or_the_memory(services: dict[str, Any]) -> None:
    variables = {"postgres": "POSTGRES_MEMORY", "worker": "WORKER_MEMORY"}
    for name, service in services.items():
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}
        assert service["mem_limit"] == "2g"
        other = compose({**GIVEN, variables.get(name, "KAFKA_MEMORY"): "5g"})["services"]
        assert other[name]["mem_limit"] == "5g"
    assert services["postgres"]["shm_size"] == "256mb"
    for name in (*KAFKA.values(), "worker"):
        assert services[name]["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_an_image_never_changes_the_collation_or_the_major_version(services: dict[str, Any]) -> None:
    assert re.fullmatch(r"postgres:\d+-[a-z]+", services["postgres"]["image"])
    for name in KAFKA.values():
        assert re.fullmatch(r"apache/kafka:\d+\.\d+\.\d+", services[name]["image"])


def test_the_workers_environment_contains_valid_settings(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in services["worker"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings(PROJECT / "settings.yaml")
    assert settings.broker.url == "kafka:19092"
    assert settings.web.host == "0.0.0.0"
    assert services["worker"]["command"][-1].startswith('SPARKLE_WEB__PUBLIC_URL="http://$HOSTNAME:6066"')


def test_the_image_contains_everything_that_a_worker_and_its_plugins_import(tmp_path: Path) -> None:
    allowed = set(re.findall(r"(?m)^!(\S+)", (PROJECT / ".dockerignore").read_text()))
    copied = re.findall(r"(?m)^COPY (.+) \S+$", (PROJECT / "Dockerfile").read_text())
    for name in " ".join(copied).split():
        assert name in allowed
        source = PROJECT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path)
    install(tmp_path / "plugins", "telemetry")
    result = subprocess.run(
        [sys.executable, "-c", _LOAD], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.split() == ["Disks", "Doors", "Fans", "PU_Workload", "Pumps", "Temperature"], (
        result.stderr
    )


_LOAD = """
from sparkle_app.worker import agents
from sparkle_app.config import loading as settings_loading
app = agents.create_app(settings_loading.load_settings())
print(*sorted(app.plugins.installed))
"""
