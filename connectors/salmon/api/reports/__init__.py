"""Reports: counted and summed up by MongoDB, shown as JSON and CSV, and followed while somebody looks."""
