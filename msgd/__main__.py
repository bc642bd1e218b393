"""`msgd` and `python -m msgd`: the command line."""

from msgd.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
