"""``python -m quotaloop``: the command line."""

from quotaloop.cli import main

if __name__ == "__main__":
    main()
