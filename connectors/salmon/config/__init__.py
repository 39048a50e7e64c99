"""The configuration of a sync: its models, error messages, interpolation, and the README's table of settings."""
