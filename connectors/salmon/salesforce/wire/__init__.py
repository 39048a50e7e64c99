"""How Salesforce is spoken to: signing in, REST, the Pub/Sub API, SOQL, error codes."""
