"""The Pub/Sub API: its calls over gRPC, and how the payload of a change event is laid out."""
