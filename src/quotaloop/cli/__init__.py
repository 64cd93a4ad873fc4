"""The command line: parse arguments, call, print; nothing is decided here."""

from quotaloop.cli.entry import main

__all__ = ["main"]
