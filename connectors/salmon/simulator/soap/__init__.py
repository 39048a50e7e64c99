"""The SOAP API, as far as signing in needs it."""
