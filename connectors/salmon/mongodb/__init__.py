"""Everything about MongoDB. Nothing here depends on Kafka."""
