"""What flows, how fast and what waits: read from the processes' REST ports and from Kafka; it writes nothing anywhere."""
