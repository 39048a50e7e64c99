"""What we know of Kafka: clients, transactions, topics, Avro in bytes, compacted tables. Nothing of the sides."""
