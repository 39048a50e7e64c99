"""How MongoDB is spoken to."""
