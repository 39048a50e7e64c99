"""How healthy the processes are, what is on its way, and what waits: read from their REST ports and from Kafka. Writes nothing."""
