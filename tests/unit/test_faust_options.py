"""The options of the Faust application."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from setproctitle import getproctitle, setproctitle
from yarl import URL

from sparkle_app.worker.faust_options import SparkleWorker


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
