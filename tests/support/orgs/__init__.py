"""Orgs for tests: in memory, in this process and as a process of its own; with what a test says to them."""
