"""A pytest plugin for `make mutation`: mutmut 3.7 reads an attribute of test items that pytest 9.2 has removed."""

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Restore it."""
    item._nodeid = item.nodeid  # type: ignore[attr-defined]
