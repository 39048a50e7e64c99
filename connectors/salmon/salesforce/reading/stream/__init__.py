"""The stream of change events: what is asked for, what comes, in which order, and what an event says."""
