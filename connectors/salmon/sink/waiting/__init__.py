"""Writes that wait: for another record, for a value that another record has, for a side that cannot take them now; and what is still unanswered."""
