"""What all processes share: life cycle, retries, which instance is the newest, schemas, and finding plugins."""
