"""The options of the Faust application."""

import asyncio
import os
import socket
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest
from faust.cli import worker as command
from setproctitle import getproctitle, setproctitle
from yarl import URL

from sparkle_app.config.loading import load_settings
from sparkle_app.config.settings import Settings
from sparkle_app.worker.agents import create_app
from sparkle_app.worker.faust_options import SparkleWorker, faust_options
from tests.support.worker import PROJECT


def test_the_name_of_the_data_folder_need_not_be_valid_utf_8() -> None:
    worker = cast(Any, SparkleWorker.__new__(SparkleWorker))
    folder = Path(os.fsdecode(b"/srv/donn\xe9es"))
    conf = SimpleNamespace(id="sparkle", web_transport=URL("tcp://"), web_port=6066, datadir=folder)
    worker.app = SimpleNamespace(conf=conf)
    before = getproctitle()
    try:
        worker._setproctitle("init")
        assert getproctitle().endswith(r"sparkle -p 6066 /srv/donn\xe9es")
    finally:
        setproctitle(before)


@pytest.mark.parametrize(
    ("lines", "options", "url"),
    [
        ("", {"web_port": 7000}, "http://127.0.0.1:7000"),
        ("", {"web_host": "worker-1"}, "http://worker-1:6066"),
        ("", {"web_host": "[::1]"}, "http://[::1]:6066"),
        (
            "{host: 0.0.0.0, token: secret}",
            {"web_port": 7000},
            f"http://{socket.gethostname()}:7000",
        ),
        ("{tls: {certificate: a, key: b}}", {"web_port": 7000}, "https://127.0.0.1:7000"),
        ("{public_url: 'https://x.example'}", {"web_port": 7000, "web_host": "y"}, "https://x.example"),
    ],
)
async def test_options_change_the_url_of_a_worker_as_settings_do(
    tmp_path: Path, lines: str, options: dict[str, Any], url: str
) -> None:
    (tmp_path / "settings.yaml").write_text(f"plugins: {PROJECT}/plugins\nweb: {lines or '{}'}\n")
    app = create_app(load_settings(tmp_path / "settings.yaml"))
    given = {"web_port": None, "web_bind": None, "web_host": None, "web_transport": None, **options}
    command.worker._init_worker_options(cast(Any, SimpleNamespace(app=app)), with_web=True, **given)
    with warnings.catch_warnings(action="error"):
        SparkleWorker(app, loop=asyncio.get_running_loop())
    assert str(app.conf.canonical_url) == url


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        # As Kubernetes sets it for a Service named `web`.
        ("WEB_PORT", "tcp://10.0.0.1:80"),
        ("WEB_PORT", "8080"),
        ("WEB_BIND", "0.0.0.0"),
        ("BROKER_URL", "kafka://elsewhere:9092"),
        ("APP_VERSION", "1.4.2"),
        ("APP_DATADIR", "/elsewhere"),
        ("PRODUCER_ACKS", "0"),
        ("STREAM_WAIT_EMPTY", "1"),
    ],
)
def test_variables_of_other_programs_change_no_option(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    settings = Settings()
    monkeypatch.setenv(variable, value)
    conf = faust.App("sparkle", **faust_options(settings)).conf
    assert (conf.web_bind, conf.web_port) == ("127.0.0.1", 6066)
    assert [str(url) for url in conf.broker] == ["kafka://127.0.0.1:9092"]
    assert (conf.version, conf.datadir) == (1, settings.data)
    assert (conf.producer_acks, conf.stream_wait_empty) == (-1, False)


def test_a_worker_that_cannot_store_for_a_year_stays_in_its_group() -> None:
    """After this time without fetching, the client leaves the group, and could not join it again: it does not fetch."""
    assert faust_options(Settings())["broker_max_poll_interval"] > 365 * 86_400
