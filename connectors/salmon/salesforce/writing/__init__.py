"""The Salesforce sink: writes in, outcomes out."""
