"""
What `make prove` and `make mutations` are made of: schedules played by the thousand, and the rules broken in turn.

Nothing of the product is imported here or in `mutants`: a mutant must be in force before its module is.
"""
