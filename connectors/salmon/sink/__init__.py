"""The worker of a sink: its buffer, its partitions, what waits or was refused, and the guard against mass deletes."""
