"""Limits attempts to log in, per address and in all, in constant memory."""

import time
from array import array
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

ATTEMPTS = 10
"""From one address at once; then one more every :data:`SECONDS`."""
SECONDS = 30.0
ALL_ATTEMPTS = 100
"""From all addresses at once; then one more every :data:`ALL_SECONDS`."""
ALL_SECONDS = 1.0
_SLOTS = 4096


class LoginLimit:
    """A leaky bucket for each address, and one for all.

    Addresses share a fixed number of buckets, so a client with many addresses costs no memory; it can only make clients
    wait whose addresses share theirs.

    Arguments:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # When each bucket will be empty, if there is no further attempt. The last one is for all addresses.
        self._empty_at = array("d", bytes(8 * (_SLOTS + 1)))

    def attempt(self, address: str) -> float:
        """Count an attempt; returns 0.0, or the seconds to wait if there were too many: it does not count then."""
        now = self._clock()
        buckets = ((_slot(address), ATTEMPTS, SECONDS), (_SLOTS, ALL_ATTEMPTS, ALL_SECONDS))
        wait = max(
            self._empty_at[slot] + seconds - now - number * seconds for slot, number, seconds in buckets
        )
        if wait > 0:
            return wait
        for slot, _, seconds in buckets:
            self._empty_at[slot] = max(self._empty_at[slot], now) + seconds
        return 0.0

    def succeeded(self, address: str) -> None:
        """Do not count the last attempt of an address."""
        self._empty_at[_slot(address)] -= SECONDS
        self._empty_at[_SLOTS] -= ALL_SECONDS


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
