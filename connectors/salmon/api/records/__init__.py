"""The CRUD API: each synced object's records, by routes that are generated from its schema."""
