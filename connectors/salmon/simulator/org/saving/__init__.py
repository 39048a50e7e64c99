"""What happens when a record is saved: checks, what the org calculates itself, its rules and triggers, merging and converting."""
