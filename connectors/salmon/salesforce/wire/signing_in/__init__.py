"""Signing in to Salesforce: one token for all, by several flows, and what the answers mean."""
