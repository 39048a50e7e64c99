"""Plausible records for a new org."""
