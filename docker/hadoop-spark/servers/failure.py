"""The one error of these commands."""

from __future__ import annotations


class Failure(Exception):
    """What, where and what to do, in a line; sometimes with the end of a log below it."""
