"""Change events: made, kept, and streamed."""
