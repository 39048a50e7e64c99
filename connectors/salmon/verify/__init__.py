"""Compares both sides with `records`. It reads all three and writes nothing."""
