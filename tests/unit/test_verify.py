"""The command `verify` with more differences than it keeps in memory."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sparkle_app.audit.chunks import Chunk, ChunkResult
from sparkle_app.audit.differences import AggregateKey, Difference
from sparkle_app.cli import verify
from sparkle_app.model.buckets import Statistics

MAX = 5
Run = Callable[..., tuple[int, str]]


def chunk(*numbers: int) -> ChunkResult:
    differences = [
        Difference(AggregateKey(f"host-{number}", 0, "k", 60), None, Statistics(1, 1.0, 1.0, 1.0, 1.0, 0))
        for number in numbers
    ]
    return ChunkResult(Chunk((), 0, 1), len(numbers), 0, {}, differences)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command on chunks of a plugin, of which every difference persists."""

    def confirmed(_auditor: Any, chunks: Sequence[Sequence[Difference]]) -> list[Difference]:
        found = [each for some in chunks for each in some]
        assert len(found) <= MAX
        return found

    def execute(*chunks: ChunkResult, as_json: bool = False) -> tuple[int, str]:
        monkeypatch.setattr(verify.verify, "results", lambda *_, **__: iter(chunks))
        command = object.__new__(verify.verify)
        command.quiet, command.stdout, command.stderr = False, sys.stdout, sys.stderr
        code = command._verify(plugin=None, limit=2, as_json=as_json, host=None)
        return code, capsys.readouterr().out

    monkeypatch.setattr(verify, "_MAX_RECHECKED", MAX, raising=False)
    monkeypatch.setattr(verify, "confirmed", confirmed)
    monkeypatch.setattr(verify.verify, "auditors", lambda *_: {"Fan": None})
    return execute


def test_differences_beyond_a_number_are_only_counted(run: Run) -> None:
    code, text = run(chunk(0, 1, 2), chunk(3, 4, 5, 6), chunk(7))
    assert code == 1
    lines = text.splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["'host-0'", "'host-1'"]
    assert lines[2:4] == ["Fan: 3 more; use --json for all", "Fan: 8 readings, 0 aggregates, 5 differences"]
    assert lines[4].startswith("Fan: 3 further differences not checked again and not listed: ")
    code, text = run(chunk(0, 1, 2), chunk(3, 4, 5, 6), chunk(7), as_json=True)
    (report,) = json.loads(text)
    assert (code, len(report["differences"]), report["not_rechecked"]) == (1, 5, 3)


def test_without_json_no_fields_are_made_of_differences(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(verify, "as_fields", lambda *given: made.append(given))
    code, text = run(chunk(0, 1, 2))
    assert (code, made) == (1, [])
    assert "not checked again" not in text
    run(chunk(0), as_json=True)
    assert len(made) == 1
