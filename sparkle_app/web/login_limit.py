"""Limits wrong tokens per address, in constant memory."""

import time
from array import array
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from aiohttp import web

ATTEMPTS = 10
"""From one address at once; then one more every :data:`SECONDS`."""
SECONDS = 30.0
_SLOTS = 4096


class LoginLimit:
    """A leaky bucket for each address.

    Addresses share a fixed number of buckets, so a client with many addresses costs no memory; it can only make clients
    wait whose addresses share theirs.

    Arguments:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # When each bucket will be empty, if there is no further attempt.
        self._empty_at = array("d", bytes(8 * _SLOTS))

    def attempt(self, address: str) -> float:
        """Count an attempt; returns 0.0, or the seconds to wait if there were too many: it does not count then."""
        now, slot = self._clock(), _slot(address)
        wait = self._empty_at[slot] + SECONDS - now - ATTEMPTS * SECONDS
        if wait > 0:
            return wait
        self._empty_at[slot] = max(self._empty_at[slot], now) + SECONDS
        return 0.0

    def succeeded(self, address: str) -> None:
        """Do not count the last attempt of an address."""
        self._empty_at[_slot(address)] -= SECONDS


LIMIT = web.RequestKey("limit", LoginLimit)
"""The key of a request under which the middleware puts the limit, for the login page."""


def _slot(address: str) -> int:
    try:
        parsed = ip_address(address.partition("%")[0])
        if isinstance(parsed, IPv6Address):
            # A client has at least a whole /64.
            address = str(parsed.ipv4_mapped or int(parsed) >> 64)
    except ValueError:
        pass
    # Differs between processes.
    return hash(address) % _SLOTS
