"""Puts it together: one process from its configuration to its exit code, and all five on one machine."""
