"""The guard against mass deletes: what it counts, and how approvals reach it."""
