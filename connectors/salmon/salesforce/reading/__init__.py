"""The Salesforce source: events and rows in, changes out."""
