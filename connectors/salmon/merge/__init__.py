"""The merge process: salmon.model.fold, fed from Kafka and answered to Kafka, exactly once."""
