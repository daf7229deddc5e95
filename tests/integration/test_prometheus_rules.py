"""docs/prometheus-rules.yaml: valid, with alerts that fire, and about metrics that a worker has."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.worker import PROJECT, Workspace

pytestmark = pytest.mark.any_broker

RULES = PROJECT / "docs" / "prometheus-rules.yaml"
CASES = PROJECT / "tests" / "support" / "prometheus-rules-test.yaml"
promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is missing; install the package prometheus"
)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@promtool
@pytest.mark.parametrize("arguments", [("check", "rules", str(RULES)), ("test", "rules", str(CASES))])
def test_promtool_accepts_the_rules(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_promtool_notices_an_alert_that_does_not_fire(tmp_path: Path) -> None:
    broken = RULES.read_text().replace("sparkle_seconds_since_stored", "sparkle_seconds_stored")
    (tmp_path / "rules.yaml").write_text(broken)
    case = CASES.read_text().replace("../../docs/prometheus-rules.yaml", "rules.yaml")
    (tmp_path / "test.yaml").write_text(case)
    command = ["promtool", "test", "rules", str(tmp_path / "test.yaml")]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_metric_of_the_rules_exists(
    broker: Broker, workspace: Workspace, start_worker: StartWorker
) -> None:
    Collector(workspace.certs)
    worker = start_worker()

    def exposed() -> str:
        return requests.get(f"{worker.url}/metrics", timeout=10).text

    named = {
        name
        for rule in rules()
        for name in re.findall(r"\b(?:sparkle|faust|node)_\w+", re.sub(r'".*?"', "", rule["expr"]))
    }
    assert len(named) > 10
    types = set(re.findall(r"(?m)^# TYPE (\w+) ", exposed()))
    assert {name for name in named if not name.startswith("node_")} <= types
    # A counter that begins at 1 shows no increase.
    for sample in (
        "sparkle_consuming",
        f'sparkle_records_total{{topic="{workspace.topic}"}}',
        f'sparkle_records_held_back_total{{topic="{workspace.topic}"}}',
        f'sparkle_records_expired_total{{topic="{workspace.topic}"}}',
        f'sparkle_records_expired_total{{topic="{workspace.app_id}-Temperature-samples"}}',
        'sparkle_readings_total{plugin="Temperature"}',
        'sparkle_readings_untrusted_clock_total{plugin="PU_Workload"}',
        'sparkle_readings_expired_total{plugin="Temperature",reason="clock"}',
        'sparkle_readings_expired_total{plugin="Temperature",reason="uncounted"}',
    ):
        value = 1 if sample == "sparkle_consuming" else 0
        assert f"\n{sample} {value}.0\n" in exposed(), sample
    named_reasons = {
        reason
        for rule in rules()
        for match in re.findall(r'dead_letters_total{\s*reason=~"(.*?)"', rule["expr"])
        for reason in match.split("|")
    }
    assert len(named_reasons) == 4
    for reason in named_reasons:
        assert f'sparkle_dead_letters_total{{reason="{reason}"}}' in exposed()


def test_every_alert_is_documented() -> None:
    text = (PROJECT / "docs" / "operations.md").read_text()
    names = [rule["alert"] for rule in rules() if "alert" in rule]
    assert len(names) > 10
    for name in names:
        assert f"| `{name}` |" in text
