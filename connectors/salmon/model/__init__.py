"""Changes, states, and the rules that decide: frozen values and pure functions. No I/O, no clock, no settings."""
