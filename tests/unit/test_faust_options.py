"""The options of the Faust application."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from setproctitle import getproctitle, setproctitle
from yarl import URL

from sparkle_app.config.settings import Settings
from sparkle_app.worker.faust_options import SparkleWorker, faust_options


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


def test_a_worker_that_cannot_store_for_a_year_stays_in_its_group() -> None:
    """After this time without fetching, the client leaves the group, and could not join it again: it does not fetch."""
    assert faust_options(Settings())["broker_max_poll_interval"] > 365 * 86_400
