"""The console: what people see of a sync in a browser, and what they do there. Each action is a command's, by the same code."""
