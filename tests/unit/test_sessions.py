"""Cookies of sessions, and the limit of attempts to log in."""

import pytest
from pydantic import SecretStr

from sparkle_app.config.web import WebSettings
from sparkle_app.web.login_limit import ATTEMPTS, SECONDS, LoginLimit, _slot
from sparkle_app.web.sessions import Role, Tokens
from tests.support.fake_clock import FakeClock

NOW = 1_764_000_000
HOUR = 3600


def tokens(token: str | None = "reader", operator: str | None = "operator", **settings: int) -> Tokens:
    given = {"token": token, "operator_token": operator}
    secrets = {name: SecretStr(value) for name, value in given.items() if value is not None}
    return Tokens(WebSettings(**secrets, **settings))  # type: ignore[arg-type]


def test_each_token_has_its_role() -> None:
    both = tokens()
    assert both.role(b"reader") is Role.READ
    assert both.role(b"operator") is Role.OPERATOR
    for wrong in (b"", b"reader ", b"READER", b"readeroperator", b"\xff"):
        assert both.role(wrong) is None
    assert tokens("", None).role(b"") is None
    assert (bool(tokens("", None)), bool(tokens(None, None)), bool(tokens(None))) == (False, False, True)


def test_every_worker_accepts_a_cookie_until_its_end() -> None:
    for role in Role:
        cookie = tokens().cookie(role, NOW + 0.9)
        assert tokens().session(cookie, NOW) == (role, NOW + 12 * HOUR)
        assert tokens().session(cookie, NOW + 12 * HOUR - 0.1) == (role, NOW + 12 * HOUR)
        assert tokens().session(cookie, NOW + 12 * HOUR) is None
    assert tokens(session_seconds=60).session(tokens(session_seconds=60).cookie(Role.READ, 0), 59) is not None


def test_a_cookie_ends_with_the_token_of_its_role() -> None:
    cookie = tokens().cookie(Role.OPERATOR, NOW)
    assert tokens("another reader").session(cookie, NOW) is not None
    for changed in (tokens("reader", "another"), tokens("reader", None), tokens("operator", "reader")):
        assert changed.session(cookie, NOW) is None


def test_a_forged_cookie_is_rejected() -> None:
    cookie = tokens().cookie(Role.READ, NOW)
    version, role, end, signature = cookie.split(".")
    forged = [
        "",
        "...",
        cookie[:-1],
        cookie + "A",
        cookie + "\n",
        f"{version}.{role}.{end}.",
        f"{version}.operator.{end}.{signature}",
        f"{version}.admin.{end}.{signature}",
        f"{version}.{role}.{int(end) + 1}.{signature}",
        f"{version}.{role}.0{end}.{signature}",
        f"2.{role}.{end}.{signature}",
        f"{version}.{role}.{end}.{'A' * 43}",
        f"{version}.{role}.{end}.{signature.swapcase()}",
        f"{version}.{role}.{end}.{'й' * 43}",
        f"{version}.{role}.{'9' * 5000}.{signature}",
        # Signed with the key of the other role.
        tokens("operator", "reader").cookie(Role.READ, NOW),
    ]
    assert tokens().session(cookie, NOW)
    assert [each for each in forged if tokens().session(each, NOW)] == []


def test_a_cookie_contains_nothing_of_the_token() -> None:
    cookie = tokens("hush-hush-hush").cookie(Role.READ, NOW)
    assert "hush" not in cookie
    assert cookie.startswith(f"1.read.{NOW + 12 * HOUR}.")


def other_than(address: str, pattern: str) -> str:
    """An address that does not share the bucket of another one."""
    others = (pattern.format(number) for number in range(1, 100))
    return next(other for other in others if _slot(other) != _slot(address))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000)


def test_attempts_of_an_address_are_limited(clock: FakeClock) -> None:
    limit = LoginLimit(clock)
    assert [limit.attempt("192.0.2.1") for _ in range(ATTEMPTS)] == [0.0] * ATTEMPTS
    assert limit.attempt("192.0.2.1") == pytest.approx(SECONDS)
    # Those that are refused do not count.
    assert limit.attempt("192.0.2.1") == pytest.approx(SECONDS)
    assert limit.attempt(other_than("192.0.2.1", "198.51.100.{}")) == 0.0
    clock.now += SECONDS
    assert [limit.attempt("192.0.2.1") for _ in range(2)] == [0.0, pytest.approx(SECONDS)]
    clock.now += SECONDS * ATTEMPTS
    assert [limit.attempt("192.0.2.1") for _ in range(ATTEMPTS)] == [0.0] * ATTEMPTS


def test_a_right_token_does_not_count(clock: FakeClock) -> None:
    limit = LoginLimit(clock)
    for _ in range(ATTEMPTS * 100):
        assert limit.attempt("192.0.2.1") == 0.0
        limit.succeeded("192.0.2.1")


def test_a_client_has_the_addresses_of_a_whole_network(clock: FakeClock) -> None:
    limit = LoginLimit(clock)
    waits = [limit.attempt(f"2001:db8:0:7::{number:x}%eth0") for number in range(ATTEMPTS + 1)]
    assert waits == [0.0] * ATTEMPTS + [SECONDS]
    assert limit.attempt(other_than("2001:db8:0:7::1", "2001:db8:1:{}::1")) == 0.0
    for _ in range(ATTEMPTS):
        assert limit.attempt("::ffff:192.0.2.1") == 0.0
    assert limit.attempt("192.0.2.1") > 0
    assert limit.attempt(other_than("192.0.2.1", "::ffff:203.0.113.{}")) == 0.0


def test_the_limit_needs_the_same_memory_for_any_number_of_addresses(clock: FakeClock) -> None:
    limit = LoginLimit(clock)
    for number in range(5_000):
        limit.attempt(f"unix:{number}")
        clock.now += 1.0
    assert set(vars(limit)) == {"_clock", "_empty_at"}
    assert len(limit._empty_at) == 4096
