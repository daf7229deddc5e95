"""The demo says in one line why it cannot start."""

from pathlib import Path

import pytest

from demo import __main__ as demo
from sparkle_app.model.errors import ConfigurationError


@pytest.mark.parametrize("text", ["²", "-1", "1.5", "many", "9" * 5000])
def test_a_variable_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DEMO_HOSTS", text)
    with pytest.raises(SystemExit, match=r"^DEMO_HOSTS: expected a whole number, found '"):
        demo._environment("DEMO_HOSTS", 20)


def test_a_variable_that_is_not_set_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_HOSTS", "3")
    assert demo._environment("DEMO_HOSTS", 20) == 3
    monkeypatch.setenv("DEMO_HOSTS", "")
    assert demo._environment("DEMO_HOSTS", 20) == 20


def test_only_one_demo_runs_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / ".demo.lock"
    with demo.lock(path), pytest.raises(ConfigurationError) as caught:
        demo.lock(path)
    assert str(caught.value) == (
        f"{path}: expected a file that can be locked, found the lock of a demo that is running here;"
        " stop that one, or use another checkout"
    )
    demo.lock(path).close()


def test_a_lock_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="expected a file that can be locked, found Is a directory; change"
    ):
        demo.lock(tmp_path)


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / ".demo"
    folder.write_text("mine")
    with pytest.raises(ConfigurationError, match=r"\.demo: expected a folder that can be created, found "):
        demo._empty(folder)
    assert folder.read_text() == "mine"
    folder.unlink()
    demo._empty(folder)
    assert (folder / "certs").is_dir()
