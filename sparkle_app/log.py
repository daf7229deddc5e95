"""Where log lines go, and which."""

from typing import Any


def logging_config(level: str) -> dict[str, Any]:
    """For logging.config.dictConfig: the handler's own lines from ``level`` on, its libraries' from WARNING on."""
    handler = {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": handler, "libraries": handler},
        # A handler of its own: Faust sets the level of the root's to that of its command line.
        "loggers": {"sparkle_app": {"level": level, "handlers": ["stderr"], "propagate": False}},
        "root": {"level": "WARNING", "handlers": ["libraries"]},
    }
