"""Everything that speaks to Kafka: clients, transactions, topics, Avro, compacted tables. It knows nothing of the sides."""
