"""The merge process: it reads changes from Kafka, gives them to salmon.model.fold, and writes the result, exactly once."""
