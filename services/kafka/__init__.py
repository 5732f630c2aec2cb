"""Kafka: the bus that the pipeline reads from and writes to."""
