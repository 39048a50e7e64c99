"""What all processes share: the life cycle, retries, the watchdog, schemas, plugins, and which instance is the newest."""
