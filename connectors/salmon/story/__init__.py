"""What happened to records, out of the topics: conflicts, a person's decisions, and the story of one record."""
