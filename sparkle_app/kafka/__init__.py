"""Kafka: connection, admin, topology (topic names), consumer, membership, record_batches, streams, publisher."""
