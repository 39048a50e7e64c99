"""`salmon schemas`: every subject of a sync, and what a new version of one would change."""
