"""The examples in the guide for authors of plugins, as packages."""

import re
from collections.abc import Mapping

from tests.support.worker import PROJECT, Workspace

GUIDE = (PROJECT / "docs" / "plugins.md").read_text("utf-8")


def files_of_guide(name: str) -> dict[str, str]:
    """The files that the guide shows of a package."""
    return dict(re.findall(rf"`plugins/{name}/(\S+)`\n\n```\w+\n(.*?)```", GUIDE, re.DOTALL))


def add_package(workspace: Workspace, name: str, files: Mapping[str, str]) -> None:
    """Write a package with the topic of a workspace."""
    folder = workspace.plugins / name
    folder.mkdir()
    for file, text in files.items():
        (folder / file).write_text(text.replace('"telemetry"', f'"{workspace.topic}"'))
