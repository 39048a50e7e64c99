"""Are both sides and `records` equal? Reads all three and compares them; it writes nothing anywhere."""
