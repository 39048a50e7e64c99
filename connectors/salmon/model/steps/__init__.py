"""The steps of the fold, each with its rules. Where they come in is told in salmon.model.fold."""
