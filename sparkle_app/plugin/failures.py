"""What the log says of an exception that a method of a plugin raises. Never its text, which may quote a value."""

import traceback
from collections.abc import Sequence

from sparkle_app.model.errors import TransientError
from sparkle_app.storage.errors import is_of_database, is_row_error, transient_error

_Frame = tuple[str, str, int]
"""Module, file and line."""


class PluginError(TransientError):
    """A plugin raises an exception that concerns no single reading; a retry succeeds once the plugin is corrected."""


def plugin_error(error: BaseException, plugin: str) -> TransientError:
    """The error as a TransientError, whose message is one line for the log: of the database, or of the plugin.

    Arguments:
        plugin: its NAME.
    """
    if isinstance(error, Exception) and is_of_database(error) and not _is_of_plugin(error):
        return transient_error(error)
    return PluginError(
        f"plugin {plugin}: {type_and_place(error)}; correct the plugin, and restart the workers"
    )


def type_and_place(error: BaseException) -> str:
    """The type of an exception, and the innermost line of a plugin that led to it; without any, the innermost line."""
    frames = _frames(error)
    _, file, line = frames[_innermost(frames)]
    return f"{type(error).__name__} at {file}:{line}"


def _is_of_plugin(error: Exception) -> bool:
    """Whether a plugin caused an error that could also be one of the database."""
    frames = _frames(error)
    innermost = _innermost(frames)
    if isinstance(error, OSError):
        # Of a file or a connection of its own, unless it has called SQLAlchemy at last.
        return not any(module.startswith("sqlalchemy.") for module, _, _ in frames[innermost + 1 :])
    # Of a statement of its own that is wrong.
    return innermost >= 0 and is_row_error(error)


def _innermost(frames: Sequence[_Frame]) -> int:
    """The index of the innermost frame of a plugin; -1 if there is none."""
    return max(
        (index for index, (module, _, _) in enumerate(frames) if module.startswith("plugins.")), default=-1
    )


def _frames(error: BaseException) -> list[_Frame]:
    return [
        (str(frame.f_globals.get("__name__")), frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
