"""The worker of a sink: its buffer, takeover, deferrals, the guard against mass deletes."""
