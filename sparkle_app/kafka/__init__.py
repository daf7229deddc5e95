"""Kafka: connection, diagnosis, admin, topology (topic names), consumer, membership, record_batches, streams,
publisher."""
