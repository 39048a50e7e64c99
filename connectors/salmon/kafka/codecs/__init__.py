"""Our shapes as bytes: Avro, its schemas, and the registry that knows them."""
