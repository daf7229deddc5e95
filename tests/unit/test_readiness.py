"""When a worker says that it is ready."""

import asyncio
import logging
from dataclasses import replace
from typing import cast

import pytest

from sparkle_app.kafka.membership import Membership
from sparkle_app.web.health import Health
from sparkle_app.worker import readiness
from tests.support.cluster import Group
from tests.support.virtual_time import VirtualClock, run

HEALTHY = Health(True, {"broker": "ok", "private keys": "ok"})


def logged(
    caplog: pytest.LogCaptureFixture, group: Group, states: list[Health], seconds: float = 60
) -> list[str]:
    """What is logged while the health checks return ``states``, the last of them from then on."""

    async def check() -> Health:
        return states.pop(0) if len(states) > 1 else states[0]

    async def main() -> None:
        async with asyncio.timeout(seconds):
            await readiness.log_ready(cast(Membership, group), check)

    with caplog.at_level(logging.INFO, readiness.__name__):
        try:
            run(main(), VirtualClock())
        except TimeoutError:
            caplog.records.append(logging.makeLogRecord({"msg": "still polling"}))
    return [record.getMessage() for record in caplog.records]


def test_a_worker_whose_checks_succeed_is_ready_at_once(caplog: pytest.LogCaptureFixture) -> None:
    group = Group()
    assert logged(caplog, group, [HEALTHY]) == [f"ready; serving HTTP at {group.url}"]


def test_a_worker_that_consumes_says_once_why_it_is_not_ready(caplog: pytest.LogCaptureFixture) -> None:
    group = Group()
    held = Health(False, {"broker": "ok", "private keys": "certs/rsa_key_1 does not exist"})
    assert logged(caplog, group, [held, held, held, HEALTHY]) == [
        f"consuming; serving HTTP at {group.url}; not ready: private keys: certs/rsa_key_1 does not exist",
        f"ready; serving HTTP at {group.url}",
    ]


@pytest.mark.parametrize("change", ["complete", "in_session"])
def test_a_worker_without_partitions_or_broker_is_not_checked(
    caplog: pytest.LogCaptureFixture, change: str
) -> None:
    group = replace(Group(), **{change: False})  # type: ignore[arg-type]
    assert logged(caplog, group, [HEALTHY]) == ["still polling"]
