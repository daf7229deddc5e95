"""Text from outside is escaped in logs and in the output of commands."""

import io
import json
import logging
import logging.config
import time
from datetime import UTC, datetime

import pytest
from rich.console import Console

from demo import table
from sparkle_app.runtime.logging import logging_config
from sparkle_app.runtime.terminal import json_line, printable

ESCAPES = "\x1b[2J\x9b31m\x07\u202e\ud800\r"


@pytest.mark.parametrize("text", ["", "host-1", "Сервер №1, 21,5 °C", "\\x1b 'quoted' \"twice\""])
def test_printable_text_is_unchanged(text: str) -> None:
    assert printable(text) == text


def test_characters_that_a_terminal_interprets_are_escaped() -> None:
    assert printable(f"a{ESCAPES}b\n\t") == r"a\x1b[2J\x9b31m\x07\u202e\ud800\rb\n\t"
    assert printable("a\nb\tc\r", keep="\n\t") == "a\nb\tc\\r"


def test_json_is_exact_and_without_control_characters() -> None:
    value = {"host": "".join(map(chr, range(0x100))), "Сервер": "\u202e"}
    line = json_line(value)
    assert json.loads(line) == value
    assert not [each for each in line if ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0]
    assert "Сервер" in line


def test_json_contains_lone_surrogates_as_escape_sequences() -> None:
    value = [{"host": "a\ud800b\udcffя\x9b"}]
    line = json_line(value)
    assert line == r'[{"host":"a\ud800b\udcffя\u009b"}]'
    assert json.loads(line) == value


@pytest.mark.parametrize("name", ["sparkle_app.web.problems", "aiohttp.server"])
def test_a_message_cannot_forge_another_or_control_the_terminal(name: str) -> None:
    config = logging_config("INFO")
    written = io.StringIO()
    for handler in config["handlers"].values():
        handler["stream"] = written
    roots = (logging.getLogger("sparkle_app"), logging.getLogger())
    before = [(each, each.level, each.handlers, each.propagate) for each in roots]
    try:
        logging.config.dictConfig(config)
        try:
            raise ValueError(ESCAPES)
        except ValueError:
            logging.getLogger(name).exception(
                "GET %s", f"/a{ESCAPES}\n2026-01-01 00:00:00,000 CRITICAL forged"
            )
    finally:
        for each, level, handlers, propagate in before:
            each.setLevel(level)
            each.handlers, each.propagate = handlers, propagate
    first, *more = written.getvalue().splitlines()
    assert first.endswith(rf"ERROR {name}: GET /a\x1b[2J\x9b31m\x07\u202e\ud800\r")
    assert all(line.startswith("  ") for line in more)
    assert more[0] == "  2026-01-01 00:00:00,000 CRITICAL forged"
    assert more[1] == "  Traceback (most recent call last):"
    assert more[-1] == r"  ValueError: \x1b[2J\x9b31m\x07\u202e\ud800\r"


@pytest.mark.parametrize(
    ("zone", "shown"), [("UTC0", "12:00:00.250+00:00"), ("XXX-5:45", "17:45:00.250+05:45")]
)
def test_times_in_the_log_have_their_utc_offset(
    monkeypatch: pytest.MonkeyPatch, zone: str, shown: str
) -> None:
    own = logging_config("INFO")["formatters"]["line"]
    formatter = own["()"](fmt=own["fmt"])
    record = logging.LogRecord("sparkle_app", logging.INFO, "", 0, "ready", None, None)
    record.created = datetime(2026, 11, 23, 12, 0, 0, 250_000, UTC).timestamp()
    with monkeypatch.context() as patched:
        patched.setenv("TZ", zone)
        time.tzset()
        text = formatter.format(record)
    time.tzset()
    assert text == f"2026-11-23 {shown} INFO sparkle_app: ready"


def test_the_table_of_the_demo_shows_hostnames_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    row = ("[red]\x1b[2Jhost", "Temperature", "1.0 °C", "1.0 °C", "1.0 °C", "1")
    console.print(table.visible([row], "host-1", 20))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert r"[red]\x1b[2Jhost" in shown
    assert "\x1b" not in shown
