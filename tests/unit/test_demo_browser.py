"""The demo opens a browser only where one has a window."""

import subprocess
import sys
from pathlib import Path

import pytest

from demo.browser import has_display
from tests.support.eventually import eventually
from tests.support.worker import PROJECT

URL = "http://127.0.0.1:6066/"


def open_page(folder: Path, **environment: str) -> tuple[bool, Path]:
    """Call the function in a process whose browser writes its argument to a file; returns the result, and the file."""
    opened = folder / "opened"
    browser = folder / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.part && /bin/mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    environment = {name: text.replace("BROWSER", str(browser)) for name, text in environment.items()}
    code = f"from demo.browser import open_page; print(open_page({URL!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "/nowhere", **environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip() == "True", opened


def test_the_page_is_opened_in_the_browser_of_a_display(tmp_path: Path) -> None:
    tried, opened = open_page(tmp_path, DISPLAY=":0", BROWSER="BROWSER %s &")
    assert tried
    eventually(opened.exists, bool)
    assert opened.read_text() == URL


@pytest.mark.parametrize(
    "environment",
    [
        {"BROWSER": "BROWSER %s &"},
        {"BROWSER": "BROWSER %s &", "DISPLAY": ""},
        # A browser in the terminal.
        {"BROWSER": "BROWSER %s", "DISPLAY": ":0"},
        {"DISPLAY": ":0"},
    ],
)
def test_without_a_window_nothing_is_opened(tmp_path: Path, environment: dict[str, str]) -> None:
    tried, opened = open_page(tmp_path, **environment)
    assert not tried
    assert not opened.exists()


def test_a_mac_has_a_display_unless_it_is_far_away() -> None:
    assert has_display("darwin", {})
    assert not has_display("darwin", {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"})
