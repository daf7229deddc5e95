"""What travels: the collectors' records and the handler's own sealed messages. Pure: neither Faust nor SQLAlchemy.

In the order of a message: envelope (parse and decrypt a record) with keyring (private keys) and event_time (the host's
clock); messages (what one stage tells the next), sealing (how the broker is kept from reading it).
"""
