"""The play of `salmon demo`: a whole sync on this machine, edited from both sides at once, and held to its promises."""
