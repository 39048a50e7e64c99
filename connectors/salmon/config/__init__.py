"""The configuration of a sync: its models, what is wrong with one, interpolation, the printed table."""
