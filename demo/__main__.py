"""``make demo``: runs a broker, a worker, a collector for this machine and simulated hosts.

All files are in the folder .demo, which is deleted and created again at every start.
"""

import argparse
import fcntl
import os
import re
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import BinaryIO, NoReturn

from demo.broker import embedded_broker_command
from demo.browser import open_page
from demo.processes import Child, ChildExitedError, stop_all
from demo.table import Averages, show
from sparkle_app.collector_config import make_config
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.manifest import find_packages

PROJECT = Path(__file__).parents[1]
FOLDER = PROJECT / ".demo"
LOCK = PROJECT / ".demo.lock"
INTERVAL_SECONDS = 5
READY_SECONDS = 60


def main() -> None:
    """Run until Ctrl-C or SIGTERM."""
    try:
        _run(_options())
    except BrokenPipeError:
        # As in `make demo | head`. Python would report it again when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace) -> None:
    # SIGINT too: a shell that starts this in the background ignores it, and the process inherits that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    children: list[Child] = []
    try:
        # Until the children have ended, too.
        _held = lock(LOCK)
        if options.broker_port == options.web_port:
            sys.exit(
                f"DEMO_WEB_PORT: expected a port other than the broker's, found {options.web_port} for both;"
                " choose another"
            )
        _check_port(options.broker_port, options.web_port, "the broker", "DEMO_BROKER_PORT")
        _check_port(options.web_port, options.broker_port, "the web server", "DEMO_WEB_PORT")
        averages = Averages(f"http://127.0.0.1:{options.web_port}", socket.gethostname())
        _start(options, children)
        _wait_until_ready(averages, children)
        if sys.stdout.isatty():
            open_page(f"{averages.url}/")
        show(averages, children, _announcement(averages))
    except KeyboardInterrupt:
        print("\nstopping", flush=True)
    except (ChildExitedError, ConfigurationError, TimeoutError) as error:
        sys.exit(str(error))
    finally:
        # A second Ctrl-C must not leave processes running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop_all(children)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__.splitlines()[0])
    for option, variable, default, what in (
        ("--hosts", "DEMO_HOSTS", 20, "number of simulated hosts"),
        ("--broker-port", "DEMO_BROKER_PORT", 9092, "port of the broker"),
        ("--web-port", "DEMO_WEB_PORT", 6066, "port of the web server"),
    ):
        parser.add_argument(
            option,
            type=int,
            metavar="N",
            default=_environment(variable, default),
            help=f"{what} (default: ${variable}, else {default})",
        )
    return parser.parse_args()


def _environment(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not re.fullmatch("[0-9]{1,9}", text):
        sys.exit(f"{variable}: expected a whole number, found {text!r}; correct it, or unset it")
    return int(text)


def lock(path: Path) -> BinaryIO:
    """Lock a file until it is closed: a start deletes the folder of the demo, which another must not be using.

    Raises:
        ConfigurationError: if it is locked, or cannot be.
    """
    try:
        file = path.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        running = isinstance(error, BlockingIOError)
        raise ConfigurationError(
            str(path),
            expected="a file that can be locked",
            found="the lock of a demo that is running here" if running else error.strerror or str(error),
            hint="stop that one, or use another checkout"
            if running
            else "change the permissions of its folder",
        ) from error
    return file


def _check_port(port: int, other: int, user: str, variable: str) -> None:
    if not 1 <= port <= 65535:
        raise ConfigurationError(
            variable, expected="a port from 1 to 65535", found=str(port), hint="choose one, or unset it"
        )
    if error := _bind_error(port):
        # Ports above 1023 need no privileges.
        candidates = (each for each in [*range(port + 1, 65536), *range(1024, port)] if each != other)
        free = next(each for each in candidates if not _bind_error(each))
        raise ConfigurationError(
            f"port {port}",
            expected=f"a free port for {user}",
            found=error,
            hint=f"stop the process that uses it, or choose another: {variable}={free} make demo",
        )


def _bind_error(port: int) -> str | None:
    """Why a server cannot listen on a port; None if it can."""
    with socket.socket() as probe:
        # A port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def _start(options: argparse.Namespace, children: list[Child]) -> None:
    print("starting a broker, a worker, a collector for this machine and simulated hosts", flush=True)
    _empty(FOLDER)
    config = make_config(
        find_packages(PROJECT / "plugins").manifests,
        address="127.0.0.1",
        port=options.broker_port,
        interval=INTERVAL_SECONDS,
        output=FOLDER / "config",
        certs=FOLDER / "certs",
    )
    children.append(Child("the broker", embedded_broker_command(options.broker_port), FOLDER / "broker.log"))
    # All other settings have their defaults: certs, data and the SQLite file are in the folder of this file.
    settings = FOLDER / "settings.yaml"
    settings.write_text(
        f"broker: {{url: '127.0.0.1:{options.broker_port}'}}\n"
        f"plugins: ../plugins\nweb: {{port: {options.web_port}}}\n"
    )
    faust = [sys.executable, "-m", "faust", "-A", "sparkle_app", "worker"]
    children.append(Child("the worker", faust, FOLDER / "worker.log", {"SPARKLE_SETTINGS": str(settings)}))
    collector = [sys.executable, "-m", "demo.collector", "--archive", str(config.archive)]
    children.append(
        Child("the collector", [*collector, "--folder", str(FOLDER / "here")], FOLDER / "collector.log")
    )
    if options.hosts:
        simulated = [*collector, "--folder", str(FOLDER / "hosts"), "--hosts", str(options.hosts)]
        children.append(Child("the simulated hosts", simulated, FOLDER / "hosts.log"))


def _empty(folder: Path) -> None:
    """Delete the folder of the demo, and create it again."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for name in ("certs", "config", "data", "hosts", "here"):
            (folder / name).mkdir(parents=True)
    except OSError as error:
        raise ConfigurationError(
            str(folder),
            expected="a folder that can be created",
            found=error.strerror or str(error),
            hint="remove it, or change its permissions",
        ) from error


def _wait_until_ready(averages: "Averages", children: list[Child]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not averages.has_this_machine():
        for child in children:
            child.check()
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"demo: expected averages within {READY_SECONDS} s, found none; see the logs in {FOLDER}"
            )
        time.sleep(0.5)


def _announcement(averages: "Averages") -> str:
    return "\n".join(
        [
            f"dashboard:      {averages.url}/",
            f"API:            {averages.url}/api/v1/plugins",
            f"SQLite file:    {FOLDER / 'data' / 'sparkle.sqlite3'}",
            # On a line of its own: a URL that is wrapped at 80 columns cannot be copied.
            "this machine:",
            f"curl '{averages.machine_url}'",
            "Press Ctrl-C to stop.",
        ]
    )


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
