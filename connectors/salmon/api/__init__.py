"""What applications and people reach a sync by: the CRUD API generated from the schemas, and what is built beside it."""
