"""`salmon demo`: a whole sync on this machine, edited from both sides at once, and checked against its promises."""
