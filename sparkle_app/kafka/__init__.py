"""Kafka: connection, timeouts, rebootstrap, diagnosis, admin, topics (topology, topic_configs, topic_ids), consumer
(consumed_logs, expired_records, membership), record_batches, streams, publisher."""
