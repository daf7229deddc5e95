"""Connections of oracledb: which parameters it accepts."""

import inspect
from collections.abc import Mapping
from typing import Any

import oracledb

from sparkle_app.config.url_parameters import refuse_unknown, refused_parameter


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for parameters of the URL that oracledb would refuse at each attempt to connect."""
    known = inspect.signature(oracledb.connect).parameters
    refuse_unknown("oracledb", "service_name", arguments, known)
    if _refused(arguments):
        raise refused_parameter("oracledb", arguments, _refused)


def _refused(arguments: Mapping[str, Any]) -> bool:
    own = inspect.signature(oracledb.ConnectParams).parameters
    try:
        oracledb.ConnectParams(**{name: value for name, value in arguments.items() if name in own})
    except (oracledb.Error, OverflowError, TypeError, ValueError):
        return True
    return False
