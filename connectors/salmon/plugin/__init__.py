"""What the author of a source, sink, transform or policy imports, and nothing else."""
