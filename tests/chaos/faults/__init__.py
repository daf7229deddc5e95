"""The faults. Each is a generator: it does something, yields how many seconds it lasts, and goes on.

So one thread can interleave two of them, while supervisors restart what ends.
"""

from collections.abc import Sequence

from tests.chaos.faults import broker, commands, data, database, workers
from tests.chaos.world import Fault

FAULTS: dict[str, Fault] = {
    "workers killed in turn": workers.kill_one_after_another,
    "all workers killed": workers.kill_all,
    "a decrypting process killed": workers.kill_a_decrypting_process,
    "a worker suspended 20 s": workers.suspend,
    "workers join and leave": workers.churn,
    "SIGTERM": workers.terminate,
    "SIGTERM, database hangs": workers.terminate_while_the_database_hangs,
    **workers.CRASHES,
    "broker restarted 5 times": broker.restart_broker,
    "broker killed": broker.kill_broker,
    "broker down 60 s": broker.broker_away,
    "more partitions": broker.more_partitions,
    "connections cut": database.cut_connections,
    "database down 60 s": database.database_away,
    "database hangs 30 s": database.database_hangs,
    "table locked 20 s": database.table_locked,
    "disk full": database.disk_full,
    "a row refused": database.one_row_refused,
    "every record duplicated": data.replay_of_everything,
    "state lost": data.state_lost,
    "rebuild while working": commands.rebuild,
    "replay while working": commands.replay,
}

_BROKER = {"broker restarted 5 times", "broker killed", "broker down 60 s", "more partitions"}
_DATABASE = {
    "SIGTERM, database hangs", "connections cut", "database down 60 s", "database hangs 30 s", "table locked 20 s",
    "disk full", "a row refused",
}  # fmt: skip
_LEAVING = {
    "SIGTERM", "SIGTERM, database hangs", "workers join and leave", "a worker suspended 20 s",
    "a decrypting process killed",
}  # fmt: skip
_STARTING = {"state lost", "workers join and leave", *workers.CRASHES}


def clash(names: Sequence[str]) -> bool:
    """Whether two faults work on the same part in ways that make no sense together, such as to lock a table of a
    database that is away."""
    return any(len(part & set(names)) > 1 for part in (_BROKER, _DATABASE, _LEAVING, _STARTING))
