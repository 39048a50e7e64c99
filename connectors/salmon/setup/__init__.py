"""Makes what a sync needs and an org lacks: fields, the permission to edit them, the selection of change events."""
