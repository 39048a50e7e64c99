"""Finds the records that both sides had before the sync, and gives those that are the same a common key."""
