"""Encodes our types as bytes and decodes them: Avro, its schemas, and the schema registry."""
