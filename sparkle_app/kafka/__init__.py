"""Kafka: connection, diagnosis, admin, topic_configs, topology (topic names), consumer, membership, record_batches,
streams, publisher."""
