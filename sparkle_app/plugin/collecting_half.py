"""Runs the collecting half of a plugin on this machine, as a collector would: in a process without the handler."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sparkle_app.model.errors import ConfigurationError

SECONDS = 10
"""A collecting half that takes longer delays the readings of the other plugins."""
# Values that are measured since the previous call are missing from the first one.
_SCRIPT = """
import importlib, json, sys, time, types
folder, package = sys.argv[1:]
plugins = sys.modules["plugins"] = types.ModuleType("plugins")
plugins.__path__ = [folder]
get_payload = importlib.import_module("plugins." + package).get_payload
payload = get_payload()
if payload == {}:
    time.sleep(1.1)
    payload = get_payload()
if type(payload) is not dict:
    sys.exit("expected get_payload() to return a dict, found " + type(payload).__name__)
print("\\n" + json.dumps(payload, allow_nan=False))
"""


def collect(package: Path, server_flag: str) -> dict[str, Any]:
    """The result of ``get_payload()``.

    Arguments:
        package: the folder of the plugin.
        server_flag: the environment variable that selects the server half.

    Raises:
        ConfigurationError: if it fails, takes too long, or returns what JSON cannot express.
    """
    environment = {name: value for name, value in os.environ.items() if name != server_flag}
    command = [sys.executable, "-c", _SCRIPT, str(package.parent), package.name]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(package, f"no result after {SECONDS} s") from error
    if done.returncode:
        raise _failed(package, (done.stderr.strip().splitlines() or ["no message"])[-1])
    payload: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return payload


def _failed(package: Path, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"{package} (collecting half)",
        expected="get_payload() to return a dict of JSON values",
        found=found,
        hint="repair it, install its requirements.txt, or pass values: KEY=VALUE",
    )
