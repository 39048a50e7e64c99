"""Kafka Connect's REST API for one connector, and the topic by which the processes of a sync learn what was asked of them."""
