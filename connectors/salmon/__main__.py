"""`python -m salmon`: the command `salmon`, for where it is not on the path."""

from salmon.cli.main import main

main()
