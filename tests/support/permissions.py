"""Permissions of files apply to root as well, in the current thread."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION_3 = 0x20080522
# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
_IGNORE_MODES = 1 << 1 | 1 << 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def obeyed_modes() -> Iterator[None]:
    """A context in which root cannot read what its mode forbids. Other users never can."""
    if os.geteuid() != 0 or sys.platform != "linux":
        yield
        return
    library = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    assert library.capget(ctypes.byref(header), data) == 0, os.strerror(ctypes.get_errno())
    before = data[0].effective
    try:
        data[0].effective = before & ~_IGNORE_MODES
        assert library.capset(ctypes.byref(header), data) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        data[0].effective = before
        assert library.capset(ctypes.byref(header), data) == 0, os.strerror(ctypes.get_errno())
