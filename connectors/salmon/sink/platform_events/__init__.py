"""Carries platform events to a side: from a topic into a collection, or out as events of the org."""
