"""The org's REST API."""
