"""All that we know of MongoDB; nothing here knows of Kafka."""
