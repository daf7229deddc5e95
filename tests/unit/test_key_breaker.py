"""The circuit breaker: which records are held back."""

import json
from collections.abc import Iterable

import msgspec

from sparkle_app.ingest.key_breaker import KeyBreaker
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.reading import Reading
from sparkle_app.model.record import Outcome, Record


def outcome(
    config: int,
    reason: Reason | None = Reason.UNDECRYPTABLE,
    replayed: bool = False,
    detail: str = "detail",
) -> Outcome:
    value = json.dumps({"config_id": config, "hostname": "h"}).encode()
    record = Record("telemetry", 0, 0, 0, value, replayed=replayed)
    if reason:
        return Outcome(record, [], [InvalidRecordError(reason, detail)])
    return Outcome(
        record, [Reading(bytes(16), config, "h", "P", "k", 1.0, 0, 0, True, "telemetry", 0, 0)], []
    )


def held(breaker: KeyBreaker, outcomes: Iterable[Outcome]) -> int:
    return len(breaker.to_hold(list(outcomes)))


def test_a_batch_that_no_key_decrypts_is_held_back() -> None:
    breaker = KeyBreaker(100)
    assert (
        held(breaker, [outcome(1, reason) for reason in (Reason.UNDECRYPTABLE, Reason.UNKNOWN_CONFIG)] * 50)
        == 100
    )
    assert set(breaker.held) == {1}
    assert breaker.state == "no private key decrypts the records of config 1 (detail); they are held back"


def test_records_of_other_configs_go_on_while_some_are_held_back() -> None:
    breaker = KeyBreaker(100)
    held(breaker, [outcome(1)] * 100)
    mixed = [outcome(1), outcome(2, None), outcome(3), outcome(2)]
    assert breaker.to_hold(mixed) == [mixed[0]]


def test_a_few_records_or_a_mostly_decryptable_batch_are_not_held_back() -> None:
    breaker = KeyBreaker(100)
    assert held(breaker, [outcome(1)] * 99) == 0
    assert held(breaker, [outcome(1)] * 890 + [outcome(2, None)] * 110) == 0
    assert held(breaker, [outcome(1, Reason.INVALID_VALUE)] * 1000) == 0
    assert breaker.state == ""


def test_a_config_that_this_worker_has_decrypted_is_never_held_back() -> None:
    breaker = KeyBreaker(100)
    assert held(breaker, [outcome(1, None)]) == 0
    assert held(breaker, [outcome(1)] * 1000) == 0


def test_small_batches_of_ten_seconds_count_together() -> None:
    now = 0.0
    breaker = KeyBreaker(100, lambda: now)
    assert held(breaker, [outcome(1)] * 60) == 0
    now = 9.9
    assert held(breaker, [outcome(1)] * 60) == 60
    # A host with a wrong key sends a few records every five minutes.
    breaker = KeyBreaker(100, lambda: now)
    for _ in range(100):
        now += 300
        assert held(breaker, [outcome(1)] * 16) == 0


def test_the_state_says_why_no_key_decrypts_also_after_another_attempt() -> None:
    breaker = KeyBreaker(100)
    held(breaker, [outcome(7, Reason.UNKNOWN_CONFIG, detail="certs/rsa_key_7 does not exist")] * 100)
    assert breaker.state == (
        "no private key decrypts the records of config 7 (certs/rsa_key_7 does not exist); they are held back"
    )
    breaker.release([outcome(7, detail="certs/rsa_key_7 does not decrypt the payload")])
    assert "(certs/rsa_key_7 does not decrypt the payload)" in breaker.state
    # One line, however many configs there are.
    held(breaker, [outcome(config) for config in range(100, 200)])
    assert breaker.state.count("detail") == 4
    assert breaker.state == (
        "no private key decrypts the records of config 7, 100, 101, 102, 103 and 96 more"
        " (certs/rsa_key_7 does not decrypt the payload, detail, detail, detail, detail, …); they are held back"
    )


def test_the_configs_that_are_held_back_are_bounded_in_number_and_in_bytes() -> None:
    breaker = KeyBreaker(100)
    long = outcome(5_000)
    long.record = msgspec.structs.replace(long.record, value=long.record.value + b" " * 20_000)
    outcomes = [long, *map(outcome, range(3_000))]
    # The others become dead letters, also in later batches.
    assert [len(breaker.to_hold(outcomes)) for _ in range(3)] == [1_000, 1_000, 1_000]
    assert set(breaker.held) == set(range(1_000))
    assert len(breaker.state) < 200
    assert breaker.release([outcome(0, None)]) == {0}


def test_replayed_records_are_dead_letters_already() -> None:
    breaker = KeyBreaker(100)
    assert held(breaker, [outcome(1, replayed=True)] * 1000) == 0


def test_records_are_released_when_one_of_their_config_is_decrypted() -> None:
    breaker = KeyBreaker(100)
    held(breaker, [outcome(1)] * 100 + [outcome(2)] * 100)
    assert breaker.release([outcome(1), outcome(2)]) == set()
    # Decrypted, but invalid: the key is right.
    assert breaker.release([outcome(1, Reason.INVALID_VALUE), outcome(2)]) == {1}
    assert set(breaker.held) == {2}
    assert held(breaker, [outcome(1)] * 1000) == 0
    # A later batch contains a record of the config that decrypts.
    held(breaker, [outcome(2, None)])
    assert breaker.release([outcome(2)]) == {2}
    assert breaker.state == ""
