"""Imports the server half if SPARKLE_M_SERVER is set, as the handler does; otherwise the collecting half."""

import os

from .manifest import AUTHOR, NAME, TOPIC, VERSION

if os.environ.get("SPARKLE_M_SERVER"):
    from .server import DataFrame, plugin

    __all__ = ["AUTHOR", "NAME", "TOPIC", "VERSION", "DataFrame", "plugin"]
else:
    from .main import get_payload

    __all__ = ["AUTHOR", "NAME", "TOPIC", "VERSION", "get_payload"]
