"""The Tooling API: custom fields, channels of change events, and what may be asked about them."""
