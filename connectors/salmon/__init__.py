"""Salmon: two-way, near-real-time sync between Salesforce and MongoDB over Apache Kafka."""

__version__ = "0.1.0"
