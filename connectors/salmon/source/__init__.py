"""The worker of a source: batches, leadership, the objects' schemas."""
