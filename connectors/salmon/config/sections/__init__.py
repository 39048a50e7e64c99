"""The sections of a configuration, each with the models of its settings. They know nothing of one another but what one contains."""
