"""The faults. Each is a generator that injects the fault and yields the seconds to wait before it continues.

So one thread can interleave two faults and, meanwhile, restart workers that have exited.
"""

from collections.abc import Sequence

from tests.chaos.faults import broker, commands, data, database, logs, network, workers
from tests.chaos.world import Fault

FAULTS: dict[str, Fault] = {
    "workers killed in turn": workers.kill_in_turn,
    "all workers killed": workers.kill_all,
    "a decrypting process killed": workers.kill_decrypting_process,
    "a worker suspended 20 s": workers.suspend,
    "a clock two hours ahead for 5 s": workers.step_clock,
    "workers join and leave": workers.join_and_leave,
    "SIGTERM": workers.terminate,
    "SIGTERM, database hangs": workers.terminate_while_the_database_hangs,
    **workers.CRASHES,
    "broker restarted 5 times": broker.restart_broker,
    "broker killed": broker.kill_broker,
    "broker down 60 s": broker.stop_broker,
    "broker hangs 30 s": broker.suspend_broker,
    "more partitions": broker.add_partitions,
    "addresses changed": logs.move_broker,
    "topic recreated": logs.recreate_topic,
    "broker restored from a copy": logs.restore_broker,
    "sensor storm": data.sensor_storm,
    "connections forgotten": network.forget_connections,
    "connections cut": database.cut_connections,
    "database down 60 s": database.stop_database,
    "database hangs 30 s": database.suspend_database,
    "database failover": database.fail_over,
    "table locked 20 s": database.lock_table,
    "disk full": database.fill_disk,
    "a row refused": database.reject_one_row,
    "every record duplicated": data.duplicate_all_records,
    "state lost": data.delete_state,
    "rebuild while working": commands.rebuild,
    "replay while working": commands.replay,
}

NEED_PROXIES = {"connections forgotten"}
"""The faults for which the workers reach the broker through a proxy."""
NEED_CLOCKS = {"a clock two hours ahead for 5 s"}
"""The faults for which the clocks of the workers can be changed."""
_ALONE = {"topic recreated", "broker restored from a copy"}
"""They begin when all records have been processed, which another fault could prevent."""
_BROKER = {
    "broker restarted 5 times", "broker killed", "broker down 60 s", "broker hangs 30 s", "more partitions",
    "addresses changed", "connections forgotten",
}  # fmt: skip
_DATABASE = {
    "connections forgotten",
    "SIGTERM, database hangs", "connections cut", "database down 60 s", "database hangs 30 s", "table locked 20 s",
    "database failover", "disk full", "a row refused",
}  # fmt: skip
_LEAVING = {
    "SIGTERM", "SIGTERM, database hangs", "workers join and leave", "a worker suspended 20 s",
    "a decrypting process killed",
}  # fmt: skip
_STARTING = {"state lost", "workers join and leave", *workers.CRASHES}


def conflict(names: Sequence[str]) -> bool:
    """Whether two of the faults cannot be combined, such as locking a table of a database that is stopped."""
    if len(names) > 1 and not _ALONE.isdisjoint(names):
        return True
    return any(len(part & set(names)) > 1 for part in (_BROKER, _DATABASE, _LEAVING, _STARTING))
