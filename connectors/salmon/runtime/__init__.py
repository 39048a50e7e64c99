"""What keeps a connector running: its worker, signals, config, health, metrics, logs and REST API."""
