"""The program `salmon`, also as `python -m salmon` where it is not on the path: the commands, in a process of their own."""

from __future__ import annotations

import gc

from salmon.cli.main import main


def program() -> None:
    """Run the command that was typed, and exit with its code."""
    try:
        main()
    finally:
        # Python would look through all modules and their objects for garbage before it ends. That takes about as long as a
        # third of a command, and the process gives back all its memory anyway.
        gc.freeze()


if __name__ == "__main__":
    program()
