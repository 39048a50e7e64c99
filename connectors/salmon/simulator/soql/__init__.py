"""SOQL: parsed, and answered from the org's tables."""
