"""What operators look at: health, metrics, logs, and Kafka Connect's REST API."""
