"""Many requests or records in one call: Composite, Composite Graph, Batch, sObject Collections and sObject Tree."""
