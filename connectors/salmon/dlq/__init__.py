"""The dead letters of a sync: what failed and why, and what an operator can do about it."""
