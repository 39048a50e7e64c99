"""What operators look at: health, metrics, logs, and a REST API like Kafka Connect's."""
