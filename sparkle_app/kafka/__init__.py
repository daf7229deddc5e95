"""What talks to Kafka: connection, admin, topology (names of topics), consumer, record_batches, streams, publisher."""
