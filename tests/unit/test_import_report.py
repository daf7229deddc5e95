"""What import says: which rows were stored, and that readings are not aggregated, also after an error."""

import json
import re
from pathlib import Path

from tests.support.transfer_files import HEADER, LINE
from tests.unit.test_sparkle_command import SPARKLE, run

HINT = "run `faust -A sparkle_app rebuild --plugin Temperature` to aggregate the imported readings"
KEEP = {"SPARKLE_RETENTION__READINGS": "forever"}


def test_readings_are_reported_after_an_error_in_a_later_file_and_when_imported_again(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_bytes(HEADER + LINE)
    bad.write_bytes(HEADER + b"1,2\r\n")
    done = run(tmp_path, SPARKLE, "import", "Temperature", good.name, bad.name, **KEEP)
    assert done.returncode == 1
    assert done.stderr.startswith("bad.csv, line 2: expected 11 cells")
    assert done.stdout.splitlines() == [
        "good.csv: 1 reading read, 1 inserted, 0 known",
        "bad.csv: 0 readings read, 0 inserted, 0 known",
        HINT,
    ]
    again = run(tmp_path, SPARKLE, "import", "Temperature", good.name, **KEEP)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.splitlines() == ["good.csv: 1 reading read, 0 inserted, 1 known", HINT]
    failed = run(tmp_path, SPARKLE, "import", "Temperature", good.name, "missing.csv", "--json", **KEEP)
    assert (failed.returncode, failed.stderr.split(":")[0]) == (1, "missing.csv")
    assert [(each["file"], each["known"], each["hint"]) for each in json.loads(failed.stdout)] == [
        ("good.csv", 1, HINT)
    ]


def test_readings_that_have_expired_need_not_be_aggregated(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_bytes(HEADER + re.sub(rb"\b20[0-9]{2}-", b"2001-", LINE))
    run(tmp_path, SPARKLE, "import", "Temperature", "old.csv", SPARKLE_RETENTION__READINGS="1d")
    run(tmp_path, SPARKLE, "retain", SPARKLE_RETENTION__READINGS="1d")
    done = run(tmp_path, SPARKLE, "import", "Temperature", "old.csv", SPARKLE_RETENTION__READINGS="1d")
    assert done.stdout.splitlines() == [
        "old.csv: 1 reading read, 0 inserted, 0 known, 1 not stored: older than the retention period"
    ]
