"""Assembles the parts: one process from its configuration to its exit code, all five on one machine, and the handle of the commands."""
