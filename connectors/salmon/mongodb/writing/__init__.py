"""The MongoDB sink: writes in, outcomes out."""
