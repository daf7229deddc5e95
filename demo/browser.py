"""Opens the page in a browser, where there is one with a window."""

import os
import sys
import webbrowser
from collections.abc import Mapping


def open_page(url: str) -> bool:
    """Open a URL in the user's browser; returns whether that was tried."""
    if not has_display(sys.platform, os.environ):
        return False
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    if type(browser) is webbrowser.GenericBrowser:
        # It runs in the terminal, where the table is.
        return False
    browser.open(url)
    return True


def has_display(platform: str, environment: Mapping[str, str]) -> bool:
    """Whether windows can be shown."""
    if platform in ("darwin", "win32"):
        return "SSH_CONNECTION" not in environment
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
