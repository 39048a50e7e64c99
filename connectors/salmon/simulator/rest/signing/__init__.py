"""Who signs in, and with what: the OAuth endpoints, passwords, and whose a session is."""
