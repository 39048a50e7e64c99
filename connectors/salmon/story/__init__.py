"""What happened to records, read from the topics: conflicts, a person's decisions, and the history of one record."""
