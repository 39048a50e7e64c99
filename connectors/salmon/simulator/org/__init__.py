"""The org itself: objects, records, transactions, users, clock."""
