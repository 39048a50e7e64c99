"""The worker of a source: batches, the election of a leader, and the watch for newer schemas."""
