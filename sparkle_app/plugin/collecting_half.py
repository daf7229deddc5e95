"""Runs the collecting half of a plugin on this machine, in a process that cannot import the handler, as on a host."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sparkle_app.model.errors import ConfigurationError

SECONDS = 10
"""A collecting half that takes longer delays the readings of the other plugins."""
# Values that are measured since the previous call are missing from the first one.
_SCRIPT = """
import importlib, json, sys, time, types
folder, package, result = sys.argv[1:]
for name in ("sparkle_app", "faust", "mode", "sqlalchemy"):
    sys.modules[name] = None
plugins = sys.modules["plugins"] = types.ModuleType("plugins")
plugins.__path__ = [folder]
try:
    get_payload = importlib.import_module("plugins." + package).get_payload
    payload = get_payload()
    if payload == {}:
        time.sleep(1.1)
        payload = get_payload()
    if type(payload) is not dict:
        sys.exit("expected get_payload() to return a dict, found " + type(payload).__name__)
    for key in payload:
        if type(key) is not str:
            sys.exit("expected keys that are str, found " + repr(key))
    with open(result, "w") as file:
        json.dump(payload, file, allow_nan=False)
except Exception as error:
    # The last line of a traceback may be a note, or the end of a long text.
    found = ", ".join([type(error).__name__ + ": " + str(error), *getattr(error, "__notes__", ())])
    sys.exit(" ".join(found.split()).rstrip(": "))
"""


def collect(package: Path, server_flag: str) -> dict[str, Any]:
    """The result of ``get_payload()``.

    Arguments:
        package: the folder of the plugin.
        server_flag: the environment variable that selects the server half.

    Raises:
        ConfigurationError: if it fails, takes too long, or returns what JSON cannot express.
    """
    environment = {
        name: value for name, value in os.environ.items() if name not in (server_flag, "PYTHONPATH")
    }
    with tempfile.TemporaryDirectory(prefix="sparkle-") as empty:
        result = Path(empty) / "payload.json"
        command = [sys.executable, "-c", _SCRIPT, str(package.parent.absolute()), package.name, str(result)]
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
                cwd=empty,
            )
        except subprocess.TimeoutExpired as error:
            raise _failed(package, f"no result after {SECONDS} s") from error
        if done.returncode or not result.exists():
            last_line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            # Not if there is no such file: __init__.py may define get_payload itself.
            if last_line == f"ModuleNotFoundError: No module named 'plugins.{package.name}.main'":
                raise _failed(package, "none", expected="main.py", hint="pass values: KEY=VALUE")
            raise _failed(package, last_line)
        payload: dict[str, Any] = json.loads(result.read_text())
    return payload


def _failed(
    package: Path,
    found: str,
    expected: str = "get_payload() to return a dict of JSON values",
    hint: str = "repair it, install its requirements.txt, or pass values: KEY=VALUE",
) -> ConfigurationError:
    return ConfigurationError(f"{package} (collecting half)", expected=expected, found=found, hint=hint)
