"""The composition root. Nothing is connected or created before a worker starts."""

from pathlib import Path
from typing import cast

import pytest
from faust.transport.consumer import Consumer

from sparkle_app.config.loading import load_settings
from sparkle_app.worker.agents import create_app
from sparkle_app.worker.application import SparkleApp

PLUGINS = Path(__file__).parents[2] / "plugins"


def new_app(folder: Path, **settings: str) -> SparkleApp:
    folder.mkdir()
    lines = [f"plugins: {PLUGINS}", *(f"{key}: {value}" for key, value in settings.items())]
    (folder / "settings.yaml").write_text("\n".join(lines))
    return create_app(load_settings(folder / "settings.yaml"))


def test_each_topic_has_an_agent_and_each_plugin_an_agent_and_a_table(tmp_path: Path) -> None:
    app = new_app(tmp_path / "one", app_id="mine")
    agents = {agent.name: agent.channel.get_topic_name() for agent in app.agents.values()}
    assert agents == {
        "ingest-telemetry": "telemetry",
        "aggregate-Temperature": "mine-Temperature-samples",
        "aggregate-PU_Workload": "mine-PU_Workload-samples",
    }
    assert set(app.tables) == {"Temperature-60s", "PU_Workload-60s"}
    changelogs = {table.changelog_topic_name for table in app.tables.values()}
    assert changelogs == {"mine-Temperature-60s-changelog", "mine-PU_Workload-60s-changelog"}


def test_several_apps_in_one_process_are_independent_and_write_no_files(tmp_path: Path) -> None:
    first = new_app(tmp_path / "one", app_id="first")
    second = new_app(tmp_path / "two", app_id="second")
    assert first.metrics.registry is not second.metrics.registry
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["settings.yaml"]


def test_unsuitable_defaults_of_faust_are_overridden(tmp_path: Path) -> None:
    conf = new_app(tmp_path / "one").conf
    assert conf.stream_wait_empty is False
    assert conf.topic_allow_declare is False
    assert (conf.web_router_enabled, conf.web_tables_enabled) == (False, False)
    assert conf.web_bind == "127.0.0.1"
    assert conf.producer_acks == -1


async def test_after_recovery_fetching_stops_until_faust_has_sought(tmp_path: Path) -> None:
    app = new_app(tmp_path / "one")
    consumer = cast(Consumer, app.consumer)
    for active in (True, False):
        if active:
            consumer.resume_flow()
        assert consumer.flow_active is active
        await app.on_rebalance_complete.send()
        assert consumer.flow_active is False
    # Otherwise a fetch that waits would go on.
    assert consumer.can_resume_flow.is_set() is False


def test_the_app_is_created_on_first_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sparkle_app

    (tmp_path / "settings.yaml").write_text(f"app_id: lazy\nplugins: {PLUGINS}\n")
    monkeypatch.setenv("SPARKLE_SETTINGS", str(tmp_path / "settings.yaml"))
    vars(sparkle_app).pop("app", None)
    try:
        assert sparkle_app.app is sparkle_app.app
        assert sparkle_app.app.conf.id == "lazy"
    finally:
        vars(sparkle_app).pop("app", None)
    with pytest.raises(AttributeError):
        _ = sparkle_app.nonsense
