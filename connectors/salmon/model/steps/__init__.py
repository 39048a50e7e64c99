"""The steps of the fold, each with its rules. Where they come in, salmon.model.fold says."""
