"""The connection to MongoDB, and its errors."""
